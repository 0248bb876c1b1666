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
	j.await(mostLines)
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
		j.mu.Unlock()
		_, _ = out.Write(lines)
		j.mu.Lock()
		j.spare = lines
		if j.moved != nil {
			close(j.moved)
			j.moved = nil
		}
	}
	j.writing = false
}

// await returns when fewer octets than so many wait to be written, or if it is 0, when
// all is written.
func (j *journal) await(most int) {
	for {
		j.mu.Lock()
		if !j.writing || len(j.lines) < most {
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

// flush returns when all is written.
func (j *journal) flush() { j.await(0) }

// printJSON writes an object and a line end in one write.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // replies have angle brackets
	return e.Encode(v)
}
