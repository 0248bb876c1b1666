package smtpd

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// holderOf is a client that may hold so much.
func holderOf(most int64) *holder {
	return new(ledger).enter(netip.MustParseAddr("192.0.2.1"), true, most, 1, 1)
}

// TestContentInMemory: content is in memory as long as it fits, in no more of it than
// is counted, and in a file without a name from there on.
func TestContentInMemory(t *testing.T) {
	h := holderOf(1 << 20)
	p := newSpool(t.TempDir(), h, nil, 1<<30)
	inUse := func(octets int64) {
		t.Helper()
		if p.file != nil || p.buffer == nil || h.octets != octets || int64(cap(*p.buffer)) != octets {
			t.Errorf("%d octets are counted, want %d in memory", h.octets, octets)
		}
	}
	for range firstBuffer / 1024 {
		p.write(make([]byte, 1024))
		inUse(firstBuffer)
	}
	p.write([]byte("x"))
	inUse(2 * firstBuffer)
	p.write(make([]byte, inMemory-1-firstBuffer))
	inUse(inMemory)
	p.write([]byte("x"))
	if p.file == nil || p.buffer != nil || h.octets != 0 || p.err != nil {
		t.Errorf("more than that is not in a file, or %d octets are counted: %v", h.octets, p.err)
	}
	if names, err := os.ReadDir(p.dir); err != nil || len(names) > 0 && runtime.GOOS != "windows" {
		t.Errorf("the file has a name: %v, %v", names, err)
	}
	file := p.file
	p.discard()
	if _, err := file.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the file is not closed: %v", err)
	}
}

// TestContentWithoutRoom: content for which its client has no memory goes to a file.
func TestContentWithoutRoom(t *testing.T) {
	h := holderOf(2*firstBuffer - 1)
	p := newSpool(t.TempDir(), h, nil, 1<<30)
	defer p.discard()
	p.write(make([]byte, firstBuffer))
	if p.file != nil || h.octets != firstBuffer {
		t.Errorf("%d octets are counted, want %d", h.octets, firstBuffer)
	}
	p.write([]byte("x"))
	if p.file == nil || h.octets != 0 || p.err != nil {
		t.Errorf("%d octets are counted, want none: %v", h.octets, p.err)
	}
}

// TestContentPastItsEnd: of content with an error nothing more is kept, and the first
// error is the one that counts.
func TestContentPastItsEnd(t *testing.T) {
	p := newSpool(t.TempDir(), holderOf(1<<20), nil, 10)
	defer p.discard()
	p.write([]byte("12345"))
	for range 3 {
		p.write([]byte("1234567890"))
		p.fail(errBareEnd)
	}
	if p.size != 5 || !errors.Is(p.err, errTooLarge) {
		t.Errorf("%d octets are kept, want 5: %v", p.size, p.err)
	}
	t.Run("in a directory that is gone", func(t *testing.T) {
		p := newSpool(filepath.Join(t.TempDir(), "gone"), holderOf(1), nil, 1<<30)
		defer p.discard()
		if p.write([]byte("x")); !errors.Is(p.err, fs.ErrNotExist) {
			t.Errorf("the error is %v", p.err)
		}
	})
	t.Run("in a file that takes no more", func(t *testing.T) {
		p := newSpool(t.TempDir(), holderOf(1), []byte("x"), 1<<30)
		p.file.Close()
		if p.write([]byte("x")); !errors.Is(p.err, os.ErrClosed) {
			t.Errorf("the error is %v", p.err)
		}
	})
}

// TestFullDisk: a client whose content finds no room is told to come back later.
func TestFullDisk(t *testing.T) {
	for _, err := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		s := &session{server: &Server{}, body: &spool{err: &fs.PathError{Op: "write", Err: err}}}
		if got := s.contentReply(); got.Code != 452 || got.Enhanced != "4.3.1" {
			t.Errorf("%v is answered %v, want 452 4.3.1", err, got)
		}
	}
}

// TestMemoryGivenBack: the memory of content is counted as long as it is held, whatever
// its size, and whatever sizes came before.
func TestMemoryGivenBack(t *testing.T) {
	r := start(t, &Server{})
	c := r.begin(t)
	c.say("RSET\r\n")
	c.want("250")
	for i := range 20 {
		size := []int{10, 100_000, 10, 2 * inMemory}[i%4]
		c.say("MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
		c.want("250", "250", "354")
		c.say(strings.Repeat("12345678\r\n", size/10) + ".\r\n")
		c.want("250")
		c.say("NOOP\r\n")
		c.want("250")
		if held := r.held(); held != 0 {
			t.Fatalf("%d octets are held after a message of %d", held, size)
		}
	}
}
