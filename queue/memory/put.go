package memory

import (
	"context"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Put keeps a copy of m in memory. It answers queue.ErrFull if m would exceed
// MaxMessages or MaxBytes.
func (q *Queue) Put(ctx context.Context, now time.Time, m *queue.Message) (string, error) {
	room, known, err := q.room(ctx, now, m)
	if err != nil {
		return known, err
	}
	d, err := read(ctx, m, room)
	if err != nil {
		return "", err
	}
	if err := q.begin(ctx); err != nil {
		return "", err
	}
	defer q.mu.Unlock()
	if id := q.knownAs(now, m); id != "" {
		return id, queue.ErrDuplicate
	}
	if !q.fits(int64(len(d.content))) {
		return "", queue.ErrFull
	}
	return q.add(now, d), nil
}

// room returns how many bytes of content can be accepted now. A message that is already
// known is reported without reading it, since there may be no room.
func (q *Queue) room(ctx context.Context, now time.Time, m *queue.Message) (room int64, known string, err error) {
	if err := q.begin(ctx); err != nil {
		return 0, "", err
	}
	defer q.mu.Unlock()
	if id := q.knownAs(now, m); id != "" && m.Validate() == nil {
		return 0, id, queue.ErrDuplicate
	}
	if q.maxBytes() < 0 {
		return -1, "", nil
	}
	return max(0, q.maxBytes()-q.bytes), "", nil
}

func (q *Queue) maxBytes() int64 {
	if q.MaxBytes == 0 {
		return DefaultMaxBytes
	}
	return q.MaxBytes
}

// fits is whether one more message of that size is within the bounds.
func (q *Queue) fits(size int64) bool {
	most := q.MaxMessages
	if most == 0 {
		most = DefaultMaxMessages
	}
	return (most < 0 || len(q.entries) < most) && (q.maxBytes() < 0 || q.bytes+size <= q.maxBytes())
}

// draft is a message read and checked, not yet in the queue.
type draft struct {
	message *queue.Message
	parts   []queue.Part
	content queue.Bytes
}

// read checks m and reads its content, at most room bytes of it where room is
// not negative. It holds no lock: the content may come from this very queue.
func read(ctx context.Context, m *queue.Message, room int64) (draft, error) {
	parts, err := queue.Split(m)
	if err != nil {
		return draft{}, err
	}
	w := &bounded{room: room}
	if size := m.Content.Size(); size > 0 && (room < 0 || size <= room) && size < mostAhead {
		w.content = make([]byte, 0, size)
	}
	if _, err := queue.CopyContent(ctx, w, m.Content); err != nil {
		return draft{}, err
	}
	content := w.content
	if spare := cap(content) - len(content); spare > 1024 && spare > len(content)/8 { // room that would not be counted
		content = append(make([]byte, 0, len(content)), content...)
	}
	return draft{m, parts, content}, nil
}

// mostAhead is the size of a content for which there is memory before any of it is read,
// since it says that it is so long.
const mostAhead = 256 << 20

// bounded is content as it is read, of which no more comes in than there is room for.
type bounded struct {
	content []byte
	room    int64 // negative means no limit
}

// Write accepts all of p or nothing.
func (b *bounded) Write(p []byte) (int, error) {
	if b.room >= 0 && int64(len(b.content)+len(p)) > b.room {
		return 0, queue.ErrFull
	}
	b.content = append(b.content, p...)
	return len(p), nil
}
