package dsn

import (
	"io"
	"unicode/utf8"
)

// reader makes a report piece by piece.
type reader struct {
	report   *Report
	named    []Recipient // of its recipients
	more     int         // others
	original facts
	boundary string
	returned returned

	step      step
	recipient int
	piece     []byte
	read      int // of piece
	content   *content
}

// step is the part of a report that comes next.
type step uint8

const (
	stepHead    step = iota // the header, and the text as far as it is about all
	stepTexts               // the text about each recipient
	stepMessage             // the fields about the message
	stepGroups              // those about each recipient
	stepReturn              // the header of the third part
	stepContent             // what is returned
	stepTail
	stepEnd
)

// Read gives the next octets of the report.
func (r *reader) Read(p []byte) (int, error) {
	for r.read == len(r.piece) {
		if r.step == stepEnd {
			return 0, io.EOF
		}
		r.piece, r.read = r.next(r.piece[:0]), 0
	}
	n := copy(p, r.piece[r.read:])
	r.read += n
	return n, nil
}

// Close closes the message that is being returned.
func (r *reader) Close() error {
	r.step, r.piece, r.read = stepEnd, nil, 0
	if r.content != nil {
		return r.content.close()
	}
	return nil
}

// next appends the next piece.
func (r *reader) next(b []byte) []byte {
	switch r.step {
	case stepHead:
		r.step, r.recipient = stepTexts, 0
		return r.text(r.head(b))
	case stepTexts:
		if r.recipient < len(r.named) {
			return textAbout(b, r.nextRecipient())
		}
		r.step = stepMessage
		return r.closing(b)
	case stepMessage:
		r.step, r.recipient = stepGroups, 0
		return r.messageFields(r.part(b, "message/delivery-status", "7bit"))
	case stepGroups:
		if r.recipient < len(r.named) {
			return recipientFields(append(b, "\r\n"...), r.nextRecipient())
		}
		r.step = stepReturn
		return b
	case stepReturn:
		return r.beginReturn(b)
	case stepContent:
		b, more := r.content.next(b)
		if !more {
			r.step = stepTail
		}
		return b
	default:
		r.step = stepEnd
		return append(append(append(b, "\r\n--"...), r.boundary...), "--\r\n"...)
	}
}

// The texts of a report have maxTexts octets together, or leastText each if that is
// more.
const (
	maxTexts  = 64 << 10
	leastText = 100
)

// nextRecipient is the next recipient, with as much of its text as is its share.
func (r *reader) nextRecipient() *Recipient {
	recipient := r.named[r.recipient]
	r.recipient++
	if share := max(maxTexts/len(r.named), leastText); len(recipient.Text) > share {
		for share > leastText/2 && !utf8.RuneStart(recipient.Text[share]) {
			share--
		}
		recipient.Text = recipient.Text[:share] + " ..."
	}
	return &recipient
}

// part begins a part of the report.
func (r *reader) part(b []byte, mediaType, encoding string) []byte {
	b = append(append(append(b, "\r\n--"...), r.boundary...), "\r\n"...)
	b = append(append(append(b, "Content-Type: "...), mediaType...), "\r\n"...)
	return append(append(append(b, "Content-Transfer-Encoding: "...), encoding...), "\r\n\r\n"...)
}

// beginReturn opens the message again, now to return it.
func (r *reader) beginReturn(b []byte) []byte {
	r.step = stepTail
	if r.returned == returnNothing {
		return b
	}
	source, err := r.report.Original()
	if err != nil {
		return b
	}
	r.step = stepContent
	r.content = newContent(source, r.returned)
	switch r.returned {
	case returnMessage:
		return r.part(b, "message/rfc822", "7bit")
	case returnQuotedHeader:
		return r.part(b, "text/rfc822-headers", "quoted-printable")
	default:
		return r.part(b, "text/rfc822-headers", "7bit")
	}
}
