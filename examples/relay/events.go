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

// journal writes events, an object a line.
type journal struct {
	path string // empty is nowhere, "-" is out
	out  io.Writer

	mu   sync.Mutex
	file *os.File
}

// open opens the file, once more where it was open: whoever rotates it sends SIGHUP.
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
	defer j.mu.Unlock()
	if j.file != nil {
		_ = j.file.Close()
	}
	j.file, j.out = f, cli.NewOutput(f)
	return nil
}

// write appends one event, with the class of what was not delivered. An event that cannot
// be written is lost: mail goes on.
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
	j.mu.Lock()
	defer j.mu.Unlock()
	_, _ = j.out.Write(append(line, '\n'))
}

// printJSON writes an object and a line end in one write.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // replies have angle brackets
	return e.Encode(v)
}
