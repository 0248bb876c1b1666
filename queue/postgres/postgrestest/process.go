package postgrestest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
)

// process is a server's first process while it runs.
type process struct {
	cmd  *exec.Cmd
	log  *output
	done chan struct{} // closed when it has ended
}

// run starts a server. The thread that starts it waits for it, since the server ends with
// that thread.
func run(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, log: new(output), done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	isolate(cmd, true)
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not used for anything else
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("postgrestest: %w", err)
	}
	return p, nil
}

// end sends a signal and waits for the end.
func (p *process) end(s os.Signal) {
	_ = p.cmd.Process.Signal(s)
	<-p.done
}

// ended reports whether the process has.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// output keeps the end of what a server says.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write keeps p.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.text.Len() > 1<<16 {
		o.text.Next(1 << 15)
	}
	return o.text.Write(p)
}

// String is what was kept.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
