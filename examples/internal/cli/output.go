package cli

import (
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// IgnoreBrokenPipes makes a write to a pipe without a reader return an error instead of
// ending the program.
func IgnoreBrokenPipes() { signal.Ignore(syscall.SIGPIPE) }

// Output is standard output or standard error, for lines that mail must not wait for.
// Files are written immediately. The reader of a pipe or a terminal may have stopped
// reading, so up to 1 MiB waits in memory. When that is full, one write waits for the
// reader for the time patience. It is then dropped, with all that follow, until the
// reader continues.
type Output struct {
	out io.Writer

	mu      sync.Mutex
	waiting [][]byte
	size    int
	writing bool
	stalled bool
	moved   chan struct{} // closed when something was written
}

const (
	mostWaiting = 1 << 20
	patience    = time.Second
)

// NewOutput returns an Output for a file, or w itself if that needs none.
func NewOutput(w io.Writer) io.Writer {
	f, ok := w.(*os.File)
	if !ok {
		return w
	}
	info, err := f.Stat()
	if err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeCharDevice|fs.ModeSocket) == 0 {
		return w
	}
	return &Output{out: w, moved: make(chan struct{})}
}

// Write accepts p or drops it. It never returns an error, because the caller could not
// handle it.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	if o.size+len(p) > mostWaiting && !o.stalled {
		o.wait(len(p))
	}
	defer o.mu.Unlock()
	if o.size+len(p) > mostWaiting {
		o.stalled = true
		return len(p), nil
	}
	o.waiting = append(o.waiting, append([]byte(nil), p...))
	o.size += len(p)
	if !o.writing {
		o.writing = true
		go o.write()
	}
	return len(p), nil
}

// wait waits until there is room for n octets, but not for long. The lock is held
// before and after.
func (o *Output) wait(n int) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for o.size+n > mostWaiting {
		moved := o.moved
		o.mu.Unlock()
		select {
		case <-moved:
			o.mu.Lock()
		case <-timer.C:
			o.mu.Lock()
			return
		}
	}
}

// write writes the waiting lines. It is a goroutine that ends when there are none; if
// its reader has stopped, it ends with the program.
func (o *Output) write() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.waiting) > 0 {
		p := o.waiting[0]
		o.waiting[0] = nil
		o.waiting = o.waiting[1:]
		o.mu.Unlock()
		_, _ = o.out.Write(p)
		o.mu.Lock()
		o.size -= len(p)
		o.stalled = false
		close(o.moved)
		o.moved = make(chan struct{})
	}
	o.writing = false
}

// Flush waits for a short time until everything written to w, if that is an Output, has
// been accepted.
func Flush(w io.Writer) {
	if o, ok := w.(*Output); ok {
		o.flush()
	}
}

func (o *Output) flush() {
	deadline := time.Now().Add(patience)
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.writing && time.Now().Before(deadline) {
		moved := o.moved
		o.mu.Unlock()
		select {
		case <-moved:
		case <-time.After(time.Until(deadline)):
		}
		o.mu.Lock()
	}
}

// Said returns a reply in one line: the codes that there are, each once, and the text.
func Said(code int, enhanced, text string) string {
	var words []string
	if code != 0 {
		words = append(words, strconv.Itoa(code))
	}
	if enhanced != "" && text != enhanced && !strings.HasPrefix(text, enhanced+" ") {
		words = append(words, enhanced)
	}
	if text != "" {
		words = append(words, strings.ReplaceAll(text, "\n", " "))
	}
	return strings.Join(words, " ")
}
