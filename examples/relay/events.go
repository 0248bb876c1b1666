package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

// journal writes events, an object a line. Lines that come while others are being written
// are written together.
type journal struct {
	path string // empty is nowhere, "-" is out

	mu      sync.Mutex
	out     io.Writer
	file    *os.File
	lines   []byte        // to be written
	spare   []byte        // the last written buffer, for reuse
	writing bool          // a goroutine is writing, until there are no lines
	begun   int           // writes so far
	ended   int           // those of them that are over
	torn    io.Writer     // an output whose last line was not written whole; nil if there is none
	moved   chan struct{} // closed when some were written; nil if no call waits
}

// mostLines is how many octets may wait to be written.
const mostLines = 256 << 10

// open opens the file, again if it was open: after rotating it, a program sends SIGHUP.
func (j *journal) open() error {
	if j.path == "" || j.path == "-" {
		return nil
	}
	mode := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if info, err := os.Stat(j.path); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
		mode = os.O_RDWR // which waits for no reader
	}
	f, err := os.OpenFile(j.path, mode, 0o640)
	if err != nil {
		return err
	}
	j.mu.Lock()
	before := j.file
	j.file, j.out = f, cli.NewOutput(f)
	j.mu.Unlock()
	if before != nil {
		j.flush() // lines on their way into the old file
		_ = before.Close()
	}
	return nil
}

// write appends one event, with the class of a failure. An event that cannot be written
// is lost, and mail continues.
func (j *journal) write(e *delivery.Event) {
	if j.path == "" {
		return
	}
	line, err := e.MarshalJSON()
	if err != nil {
		return
	}
	if class := classOf(e); class != "" {
		line = fmt.Appendf(line[:len(line)-1], `,"class":%q}`, class)
	}
	j.await(func() bool { return len(j.lines) < mostLines })
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(append(j.lines, line...), '\n')
	if !j.writing {
		j.writing = true
		go j.writeLines()
	}
}

// writeLines writes what there is.
func (j *journal) writeLines() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.lines) > 0 {
		lines, out := j.lines, j.out
		j.lines, j.spare = j.spare[:0], nil
		j.begun++
		torn := j.torn == out
		j.mu.Unlock()
		torn = writeWhole(out, lines, torn)
		j.mu.Lock()
		j.spare, j.ended = lines, j.ended+1
		if j.torn = nil; torn {
			j.torn = out
		}
		if j.moved != nil {
			close(j.moved)
			j.moved = nil
		}
	}
	j.writing = false
}

// writeWhole writes lines. If only a part of a line can be written, as to a full disk, it
// returns true, and the next call ends that line first, so that no other is lost with it.
func writeWhole(out io.Writer, lines []byte, torn bool) bool {
	if torn {
		if _, err := out.Write([]byte{'\n'}); err != nil {
			return true
		}
	}
	n, err := out.Write(lines)
	return err != nil && n > 0 && lines[n-1] != '\n'
}

// await returns when a condition holds, or nothing is being written. The condition is
// called with j.mu held, and again whenever some lines were written.
func (j *journal) await(holds func() bool) {
	for {
		j.mu.Lock()
		if !j.writing || holds() {
			j.mu.Unlock()
			return
		}
		if j.moved == nil {
			j.moved = make(chan struct{})
		}
		moved := j.moved
		j.mu.Unlock()
		<-moved
	}
}

// flush returns when all is written that was there when it was called, whatever comes
// meanwhile.
func (j *journal) flush() {
	j.mu.Lock()
	last := j.begun
	if len(j.lines) > 0 {
		last++
	}
	j.mu.Unlock()
	j.await(func() bool { return j.ended >= last })
}

// printJSON writes an object and a line end in one write.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // replies have angle brackets
	return e.Encode(v)
}
