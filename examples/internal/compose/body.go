package compose

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// CopyBody copies a body to its end, and ends its lines with CRLF. With dot, a line of a
// single dot ends it.
func CopyBody(w io.Writer, in *bufio.Reader, dot bool) error {
	out := bufio.NewWriter(w)
	cr := false // a CR was read that may be of a line end
	for begins := true; ; {
		part, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if dot && begins && string(bytes.TrimRight(part, "\r\n")) == "." {
			return out.Flush()
		}
		if cr && len(part) > 0 && part[0] != '\n' {
			_ = out.WriteByte('\r') // errors are returned by Flush
		}
		text, ended := bytes.CutSuffix(part, []byte("\n"))
		cr = len(text) > 0 && text[len(text)-1] == '\r' || cr && len(part) == 0
		if cr && len(text) > 0 {
			text = text[:len(text)-1]
		}
		_, _ = out.Write(text)
		if ended || errors.Is(err, io.EOF) && (len(part) > 0 || !begins) {
			_, _ = out.WriteString("\r\n")
			cr = false
		}
		if errors.Is(err, io.EOF) {
			return out.Flush()
		}
		begins = ended
	}
}
