package memory_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// inUse is how much memory is reachable.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// streamed is content of zeros that has to be read, of a size it may not tell.
type streamed struct {
	size int64
	tell bool
}

func (s streamed) Size() int64 {
	if s.tell {
		return s.size
	}
	return -1
}

func (s streamed) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.LimitReader(zeros{}, s.size)), nil
}

// TestContentBeyondTheBoundIsNotReadOn puts content that does not tell its size and is
// longer than there is room for: it is not read much further than that.
func TestContentBeyondTheBoundIsNotReadOn(t *testing.T) {
	q := &memory.Queue{MaxBytes: 100 << 10}
	read := &counted{}
	_, err := q.Put(t.Context(), time.Unix(0, 0), &queue.Message{Content: read, Recipients: []queue.Recipient{{Address: "a@b.example"}}})
	if !errors.Is(err, queue.ErrFull) {
		t.Errorf("Put = %v, want ErrFull", err)
	}
	if read.bytes > 200<<10 {
		t.Errorf("of a content that is too long %d bytes were read, where 100 KiB have room", read.bytes)
	}
}

// counted is 64 MiB of zeros of which somebody counts what is read.
type counted struct{ bytes int64 }

func (*counted) Size() int64 { return -1 }

func (c *counted) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.TeeReader(io.LimitReader(zeros{}, 64<<20), c)), nil
}

func (c *counted) Write(p []byte) (int, error) {
	c.bytes += int64(len(p))
	return len(p), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestLargeContentsTakeTheirSize puts contents of sizes at which a buffer that grows would
// have much room to spare: what MaxBytes counts is what they take.
func TestLargeContentsTakeTheirSize(t *testing.T) {
	const size = 8<<20 + 1
	for name, content := range map[string]queue.Content{
		"in memory": queue.Bytes(make([]byte, size)), "of a known size": streamed{size, true}, "of no known size": streamed{size, false},
	} {
		q := new(memory.Queue)
		var before, after runtime.MemStats
		had := inUse()
		runtime.ReadMemStats(&before)
		id, err := q.Put(t.Context(), time.Unix(0, 0), &queue.Message{Content: content, Recipients: []queue.Recipient{{Address: "a@b.example"}}})
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if n := inUse() - had; n > size+size/8 {
			t.Errorf("%s: %d bytes take %d", name, size, n)
		}
		if n := after.TotalAlloc - before.TotalAlloc; name != "of no known size" && n > size+size/8 {
			t.Errorf("%s: to put %d bytes %d were allocated", name, size, n)
		}
		if _, err := q.Open(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
}

// TestMemoryIsGivenBack has nearly all of many messages leave, each with a destination and
// a tenant of its own: what is left takes little.
func TestMemoryIsGivenBack(t *testing.T) {
	const many = 40_000
	q := &memory.Queue{MaxKeys: -1}
	had := inUse()
	var ids []string
	for i := range many {
		id, err := q.Put(t.Context(), time.Unix(0, 0), &queue.Message{
			Tenant: fmt.Sprint("tenant", i), Key: "k", NotBefore: time.Unix(int64(i), 0),
			Content: queue.String("text"), Recipients: []queue.Recipient{{Address: fmt.Sprintf("a@d%d.example", i)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	full := inUse() - had
	for _, id := range ids[:many-1] {
		if err := q.Drop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	last := strings.Clone(ids[many-1])
	clear(ids)
	if n := inUse() - had; n > full/10 {
		t.Errorf("%d messages take %d bytes, and the last of them %d", many, full, n)
	}
	page, err := q.List(t.Context(), queue.ListOptions{})
	if err != nil || len(page.Entries) != 1 || page.Entries[0].Message.ID != last {
		t.Errorf("List = %d messages, %v", len(page.Entries), err)
	}
}

// TestKeysBesideAClockThatWentBack has a message leave while the clock is far ahead, and
// then the same key come and go again and again: what is remembered stays bounded.
func TestKeysBesideAClockThatWentBack(t *testing.T) {
	q := &memory.Queue{KeepKeys: time.Second, MaxKeys: 10}
	now := time.Unix(2e9, 0)
	use := func(key string) {
		t.Helper()
		id, err := q.Put(t.Context(), now, &queue.Message{Key: key, Content: queue.String("text"),
			Recipients: []queue.Recipient{{Address: "a@b.example"}}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := q.Claim(t.Context(), now, queue.ClaimOptions{})
		if err != nil || len(got.Deliveries) != 1 || got.Deliveries[0].Lease.Message != id {
			t.Fatalf("Claim = %+v, %v", got, err)
		}
		if _, err := q.Settle(t.Context(), now, []queue.Settlement{{Lease: got.Deliveries[0].Lease,
			Results: []queue.Result{{Outcome: queue.Delivered}}}}); err != nil {
			t.Fatal(err)
		}
	}
	use("far ahead")
	now = time.Unix(1e9, 0)
	had := inUse()
	for range 30_000 {
		use("again")
		now = now.Add(2 * time.Second)
	}
	if n := inUse() - had; n > 1<<20 {
		t.Errorf("two keys take %d bytes", n)
	}
	runtime.KeepAlive(q)
}
