package cli

import (
	"bytes"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// stopped is a reader that takes nothing until it is told to go on.
type stopped struct {
	bytes.Buffer
	goOn chan struct{}
}

func (s *stopped) Write(p []byte) (int, error) {
	<-s.goOn
	return s.Buffer.Write(p)
}

// TestOutputWithoutReader: what writes lines does not wait for who reads them, beyond
// a second once, and the memory for it is bounded.
func TestOutputWithoutReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &stopped{goOn: make(chan struct{})}
		o := &Output{out: to, moved: make(chan struct{})}
		line := bytes.Repeat([]byte("x"), 1023)
		line = append(line, '\n')
		began := time.Now()
		for range 4096 {
			if n, err := o.Write(line); n != len(line) || err != nil {
				t.Fatal(n, err)
			}
		}
		if waited := time.Since(began); waited != patience {
			t.Errorf("4096 lines waited for %v, want %v", waited, patience)
		}
		if o.size > mostWaiting {
			t.Errorf("%d octets wait", o.size)
		}
		Flush(o) // in vain
		close(to.goOn)
		synctest.Wait()
		if to.Len() != mostWaiting {
			t.Errorf("%d octets came, want %d", to.Len(), mostWaiting)
		}
		if _, err := o.Write([]byte("again\n")); err != nil {
			t.Fatal(err)
		}
		Flush(o)
		if !bytes.HasSuffix(to.Bytes(), []byte("\nagain\n")) {
			t.Error("once the reader goes on, nothing comes")
		}
	})
}

func TestNewOutput(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, c := range []struct {
		name   string
		out    io.Writer
		direct bool
	}{{"a file", file, true}, {"a buffer", &bytes.Buffer{}, true}, {"a pipe", w, false}} {
		if got := NewOutput(c.out) == c.out; got != c.direct {
			t.Errorf("%s is written to directly: %t, want %t", c.name, got, c.direct)
		}
	}
}

func TestSaid(t *testing.T) {
	for want, c := range map[string]struct {
		code           int
		enhanced, text string
	}{
		"":                         {},
		"250 2.0.0 taken":          {250, "2.0.0", "taken"},
		"450 4.2.1 later":          {450, "4.2.1", "4.2.1 later"},
		"450 4.2.1":                {450, "4.2.1", "4.2.1"},
		"450 4.2.1 4.2.10 later":   {450, "4.2.1", "4.2.10 later"},
		"4.4.3 no answer from DNS": {0, "4.4.3", "no answer from DNS"},
		"550 no such user at all":  {550, "", "no such user\nat all"},
	} {
		if got := Said(c.code, c.enhanced, c.text); got != want {
			t.Errorf("%+v: %q, want %q", c, got, want)
		}
	}
}
