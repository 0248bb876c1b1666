package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// asked is a content that notes how often it is opened, of any size that it says it has.
type asked struct {
	size   int64
	times  int
	text   string
	err    error
	during func()
}

func (a *asked) Size() int64 { return a.size }

func (a *asked) Open() (io.ReadCloser, error) {
	a.times++
	if a.during != nil {
		a.during()
	}
	return io.NopCloser(strings.NewReader(a.text)), a.err
}

func keyedMessage(key string) *queue.Message {
	m := textMessage("text")
	m.Key = key
	return m
}

// TestPutBeyondMaxMessages bounds the messages: those on their way in count, and no longer
// when they did not get in. One that is there, or has left a moment ago, is known.
func TestPutBeyondMaxMessages(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	s, err := openByHand(crashfs.New(1), Options{MaxMessages: 2})
	must(t, err)
	left, err := s.Put(ctx, now, keyedMessage("left"))
	must(t, err)
	deliverAll(t, s)
	odd := errors.New("odd")
	for range 3 { // what did not get in does not count
		if id, err := s.Put(ctx, now, &queue.Message{Recipients: textMessage("").Recipients, Content: &asked{size: 4, err: odd}}); id != "" || !errors.Is(err, odd) {
			t.Fatalf("Put of what cannot be read = %q, %v", id, err)
		}
	}
	there, err := s.Put(ctx, now, keyedMessage("there"))
	must(t, err)
	inner := error(nil)
	outer := &asked{size: -1, text: "text", during: func() { _, inner = s.Put(ctx, now, textMessage("inner")) }}
	_, err = s.Put(ctx, now, &queue.Message{Recipients: textMessage("").Recipients, Content: outer})
	must(t, err)
	if !errors.Is(inner, queue.ErrFull) {
		t.Errorf("Put while the last one is on its way in = %v, want ErrFull", inner)
	}
	unread := &asked{size: 4, text: "text"}
	impossible := keyedMessage("there")
	impossible.Recipients = nil
	s.keys.reserved[hashKey("", "coming")] = 1
	for name, c := range map[string]struct {
		m  *queue.Message
		id string
	}{
		"new":           {m: &queue.Message{Recipients: textMessage("").Recipients, Content: unread}},
		"with a key":    {m: keyedMessage("new")},
		"it is coming":  {m: keyedMessage("coming")},
		"it is there":   {m: keyedMessage("there"), id: there},
		"it has left":   {m: keyedMessage("left"), id: left},
		"it is no mail": {m: impossible},
	} {
		want := queue.ErrFull
		if c.id != "" {
			want = queue.ErrDuplicate
		}
		if id, err := s.Put(ctx, now, c.m); id != c.id || !errors.Is(err, want) {
			t.Errorf("%s: Put = %q, %v, want %q, %v", name, id, err, c.id, want)
		}
	}
	if unread.times > 0 {
		t.Error("a content was read that there is no room for")
	}
	deliverAll(t, s)
	deliverAll(t, s)
	mustPut(t, s)
	mustPut(t, s)
}

// TestPutWhereRoomIsShort has the reserve not whole: nothing is read of what is to be put.
// One that is known needs no room; if it is the device that fails, nobody knows.
func TestPutWhereRoomIsShort(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		fs, s := openSmall(t)
		there, err := s.Put(ctx, now, keyedMessage("there"))
		must(t, err)
		s.short.Store(true)
		fs.Inject(func(op crashfs.Op, name string) error {
			if name == reserveName && op != crashfs.OpTruncate {
				return cause
			}
			return nil
		})
		must(t, s.spare.file.Truncate(0))
		s.spare.size = 0
		unread := &asked{size: 4, text: "text"}
		want := cause
		if cause == syscall.ENOSPC {
			want = queue.ErrFull
		}
		if id, err := s.Put(ctx, now, &queue.Message{Recipients: textMessage("").Recipients, Content: unread}); id != "" || !errors.Is(err, want) {
			t.Errorf("%v: Put = %q, %v", cause, id, err)
		}
		if unread.times > 0 {
			t.Errorf("%v: a content was read that there is no room for", cause)
		}
		id, err := s.Put(ctx, now, keyedMessage("there"))
		if known := cause == syscall.ENOSPC; known != errors.Is(err, queue.ErrDuplicate) || known != (id == there) || !known && !errors.Is(err, cause) {
			t.Errorf("%v: Put of what is there = %q, %v", cause, id, err)
		}
		fs.Inject(nil)
		s.spare.failed = time.Time{}
		if id := mustPut(t, s); id == "" || unread.times > 0 {
			t.Errorf("%v: Put when there is room = %q", cause, id)
		}
	}
}

// TestPutTriesOnceMore has mail leave that takes all the room: the room is made when it is
// needed.
func TestPutTriesOnceMore(t *testing.T) {
	r := newFullRig(t, crashfs.Device{Room: 400 << 10}, Options{}, 4000)
	ids := len(r.put)
	for _, d := range r.claim() {
		r.settle(&d, always(queue.Delivered))
	}
	for range ids / 2 {
		if _, err := r.putOne(); err != nil {
			t.Fatalf("Put when all has left = %v", err)
		}
	}
}

// TestPutWaitsForAKey has the key of a message reserved by another call. Who waits for it
// may give up.
func TestPutWaitsForAKey(t *testing.T) {
	now := time.Unix(1e9, 0)
	_, s := openSmall(t)
	h := hashKey("", "key")
	s.keys.reserved[h] = 1
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		id, err := s.Put(ctx, now, keyedMessage("key"))
		if id != "" {
			t.Errorf("Put = %s", id)
		}
		ended <- err
	}()
	for waits := false; !waits; runtime.Gosched() {
		s.mu.Lock()
		waits = s.awaited
		s.mu.Unlock()
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Put = %v, want Canceled", err)
	}
	if s.keys.reserved[h] != 1 {
		t.Error("another's key was freed")
	}
}

// TestSizesOfContents puts contents at the bounds of what is kept where, and of what fits.
func TestSizesOfContents(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	const large = 3000
	odd := errors.New("odd")
	for name, c := range map[string]struct {
		content queue.Content
		file    bool
		odd     bool // it is opened, and that fails
		refused bool
	}{
		"nothing":              {content: queue.Bytes(nil)},
		"bytes, small":         {content: queue.Bytes(make([]byte, large-1))},
		"bytes, large":         {content: queue.Bytes(make([]byte, large)), file: true},
		"stream, small":        {content: &asked{size: large - 1, text: strings.Repeat("x", large-1)}},
		"stream, large":        {content: &asked{size: large, text: strings.Repeat("x", large)}, file: true},
		"stream, unknown":      {content: &asked{size: -1, text: strings.Repeat("x", large)}, file: true},
		"the largest there is": {content: &asked{size: math.MaxUint32, err: odd}, odd: true},
		"one byte more":        {content: &asked{size: math.MaxUint32 + 1, err: odd}, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			fs := crashfs.New(1)
			s, err := openByHand(fs, Options{LargeContent: large})
			must(t, err)
			mustPut(t, s)
			before := s.current.size
			id, err := s.Put(ctx, now, &queue.Message{Recipients: textMessage("").Recipients, Content: c.content})
			var refused *queue.MessageError
			if (errors.As(err, &refused) && !errors.Is(err, odd)) != c.refused || errors.Is(err, odd) != c.odd || err != nil && !c.refused && !c.odd {
				t.Fatalf("Put = %v", err)
			}
			if n := contentFiles(t, fs); (n == 1) != c.file || n > 1 {
				t.Errorf("there are %d files", n)
			}
			if err != nil {
				return
			}
			if c.file && s.current.size > before+2*sectorSize {
				t.Errorf("the log has %d bytes of a content that is in a file", s.current.size-before)
			}
			got, err := readContent(s, id)
			want := bytes.Buffer{}
			_, _ = queue.CopyContent(ctx, &want, c.content)
			if err != nil || got != want.String() {
				t.Errorf("%d bytes, %v, want %d", len(got), err, want.Len())
			}
		})
	}
}

// TestContentOfWhatMayBeThere has the device fail to save a message: whether the log has
// it nobody knows, so its content stays, and with it what is there when it is opened
// again.
func TestContentOfWhatMayBeThere(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs := crashfs.New(1)
	s, err := openByHand(fs, Options{LargeContent: 1000})
	must(t, err)
	mustPut(t, s)
	failLog(crashfs.OpSync)(fs, s, nil)
	if id, err := s.Put(ctx, now, textMessage(strings.Repeat("x", 1000))); id != "" || !errors.Is(err, ErrFailed) {
		t.Fatalf("Put = %q, %v", id, err)
	}
	fs.Inject(nil)
	if n := contentFiles(t, fs); n != 1 {
		t.Errorf("there are %d files of contents, want the one that may be needed", n)
	}
	fs = fs.Kill()
	s, err = openByHand(fs, Options{LargeContent: 1000})
	must(t, err)
	page, err := s.List(ctx, queue.ListOptions{})
	must(t, err)
	for _, e := range page.Entries {
		if _, err := readContent(s, e.Message.ID); err != nil {
			t.Errorf("%s: %v", e.Message.ID, err)
		}
	}
	if len(page.Entries) != 2 {
		t.Errorf("%d messages are there, want both", len(page.Entries))
	}
}

// TestNothingIsDeletedForWhatIsInTheLog has small messages not put, of which there is no
// file.
func TestNothingIsDeletedForWhatIsInTheLog(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	_, err := s.Put(ctx, now, keyedMessage("key"))
	must(t, err)
	fs.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpRemove {
			t.Errorf("%s is removed", name)
		}
		return nil
	})
	if _, err := s.Put(ctx, now, keyedMessage("key")); !errors.Is(err, queue.ErrDuplicate) {
		t.Errorf("Put = %v", err)
	}
	fs.Inject(nil)
	failLog(crashfs.OpWrite)(fs, s, nil)
	if id, err := s.Put(ctx, now, textMessage("x")); id != "" || err == nil {
		t.Errorf("Put = %q, %v", id, err)
	}
}

// TestKeyOfAWideMessage has a message to very many destinations, whose key is known from
// when it is there.
func TestKeyOfAWideMessage(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	m := keyedMessage("key")
	for n := range holdMax + 1 {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("a@d%d.example", n)})
	}
	id, err := s.Put(ctx, now, m)
	must(t, err)
	if again, err := s.Put(ctx, now, m); again != id || !errors.Is(err, queue.ErrDuplicate) {
		t.Errorf("Put once more = %q, %v", again, err)
	}
}

// lying is a content in memory of another size than it says it has.
type lying struct{ queue.Content }

func (lying) Size() int64   { return 3 }
func (lying) Bytes() []byte { return []byte("text") }

func TestPutOfALyingContent(t *testing.T) {
	_, s := openSmall(t)
	m := textMessage("")
	m.Content = lying{}
	if id, err := s.Put(context.Background(), time.Unix(1e9, 0), m); id != "" || !errors.Is(err, queue.ErrSize) {
		t.Errorf("Put = %q, %v, want ErrSize", id, err)
	}
}
