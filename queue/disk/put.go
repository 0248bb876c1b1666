package disk

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// draft is a message that has been checked and read and is not in the queue yet.
type draft struct {
	message   *queue.Message
	parts     []queue.Part
	number    uint64
	file      uint64 // the number it was given at first, by which its file goes
	body      []byte // the content, unless it is in a file
	bodySum   uint32
	size      uint32
	bytes     int64 // of its records, at most
	inFile    bool
	keyed     bool
	key       keyHash
	reserved  bool // the key is
	duplicate bool // number is that of the message with the same key

	// What most messages need for encoding, allocated in one piece.
	ticket     ticket
	delivery   [1]record.Delivery
	recipients [1]record.Recipient
	heads      [headRoom]byte
}

// Put stores a message. It returns queue.ErrFull if the device is full or there are
// MaxMessages messages.
func (s *Spool) Put(ctx context.Context, now time.Time, m *queue.Message) (string, error) {
	if err := s.begin(ctx); err != nil {
		return "", err
	}
	defer s.end()
	if err := s.enter(); err != nil {
		return s.knownWhenFull(now, m, err)
	}
	defer s.leave()
	if err := s.door(ctx); err != nil {
		return s.knownWhenFull(now, m, err)
	}
	d, err := s.read(ctx, m)
	if err != nil {
		return "", err
	}
	id := formatID(d.number) // d is not ours any more once that went well
	if err := s.putDraft(ctx, now, d); err != nil {
		s.abandon([]*draft{d})
		if errors.Is(err, queue.ErrDuplicate) {
			return formatID(d.number), err
		}
		return "", err
	}
	return id, nil
}

func (s *Spool) putDraft(ctx context.Context, now time.Time, d *draft) error {
	if d.keyed {
		drafts := []*draft{d}
		if err := s.claimKeys(ctx, now, drafts); err != nil {
			return err
		}
		defer s.freeKeys(drafts)
		if d.duplicate {
			return s.known()
		}
	}
	err := s.putTicket(now, d)
	if errors.Is(err, queue.ErrFull) && s.reclaim(ctx) {
		err = s.putTicket(now, d)
	}
	return err
}

// known answers for a message that is there, once it is saved.
func (s *Spool) known() error {
	s.mu.Lock()
	unsure := s.tail != nil // it may be in it
	s.mu.Unlock()
	if unsure {
		if err := s.save(); err != nil {
			return err
		}
	}
	return queue.ErrDuplicate
}

// putTicket has a message written. The draft is not ours any more if that went
// well.
func (s *Spool) putTicket(now time.Time, d *draft) error {
	t := d.ticket.init()
	t.durable, t.changes, t.class, t.apply = true, true, growing, nil
	if !d.keyed {
		t.draft = d
	}
	s.encode(now, d, t)
	return s.await(s.line.enqueue(t), growing, true)
}

// door admits a put, unless there is only the room that mail needs to leave.
func (s *Spool) door(ctx context.Context) error {
	if !s.short.Load() {
		return nil
	}
	for again := false; ; again = true {
		t := &ticket{class: growing}
		s.line.enqueue(t)
		err := s.wait(t)
		if !errors.Is(err, queue.ErrFull) || again || !s.reclaim(ctx) {
			return err
		}
	}
}

// recycle keeps the drafts of finished puts for reuse: they are most of what Put would
// leave to the garbage collector.
func (s *Spool) recycle(b *batch) {
	for _, t := range b.tickets {
		if d := t.draft; d != nil {
			*d = draft{}
			s.drafts.Put(d)
		}
	}
}

// enter counts a message on its way in against MaxMessages.
func (s *Spool) enter() error {
	if s.maxMessages <= 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index.Messages()+s.entering >= s.maxMessages {
		return queue.ErrFull
	}
	s.entering++
	return nil
}

// knownWhenFull returns the result for a message for which there is no room: one that
// is already in the queue needs none.
func (s *Spool) knownWhenFull(now time.Time, m *queue.Message, full error) (string, error) {
	if !errors.Is(full, queue.ErrFull) || m.Key == "" || m.Validate() != nil {
		return "", full
	}
	h := hashKey(m.Tenant, m.Key)
	s.mu.Lock()
	unsure := s.tail != nil // it may be in it
	number, known := s.lookUpKey(h)
	s.mu.Unlock()
	if unsure {
		return "", full
	}
	if !known {
		var err error
		if number, known, err = s.leftWith(h, now); err != nil || !known {
			return "", full
		}
	}
	return formatID(number), queue.ErrDuplicate
}

func (s *Spool) leave() {
	if s.maxMessages <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entering--
}

// read checks a message, gives it a number and reads its content. It holds no lock
// meanwhile, because the content may come from this spool.
func (s *Spool) read(ctx context.Context, m *queue.Message) (*draft, error) {
	parts, err := queue.Split(m)
	if err != nil {
		return nil, err
	}
	if s.failing.Load() {
		return nil, s.failed()
	}
	d, _ := s.drafts.Get().(*draft)
	if d == nil {
		d = new(draft)
	}
	d.message, d.parts, d.keyed = m, parts, m.Key != ""
	if d.keyed {
		d.key = hashKey(m.Tenant, m.Key)
	}
	ordinal := s.nextMessage.Add(1) - 1
	if ordinal >= s.limits.next {
		return nil, fmt.Errorf("%w: the spool has used all its message numbers", queue.ErrFull)
	}
	d.number = index.Number(ordinal, len(parts))
	d.file = d.number
	err = s.readContent(ctx, d)
	if err == nil {
		d.bytes, err = s.limits.checkRoom(m, parts, int64(len(d.body)))
	}
	if err != nil {
		s.abandon([]*draft{d})
		return nil, err
	}
	d.bodySum = record.Sum(d.body)
	return d, nil
}

// readContent takes a small content into memory and streams a large one into a
// file.
func (s *Spool) readContent(ctx context.Context, d *draft) error {
	c := d.message.Content
	size := c.Size()
	if size > math.MaxUint32 {
		return tooLarge()
	}
	if b := queue.BytesOf(c); b != nil && size == int64(len(b)) && size < s.largeFrom {
		d.body, d.size = b, uint32(size)
		return nil
	}
	w := &contentWriter{s: s, ctx: ctx, number: d.number}
	if size > 0 && size < s.largeFrom {
		w.small.Grow(int(size))
	}
	n, err := queue.CopyContent(ctx, w, c)
	if err == nil {
		err = w.finish()
	}
	d.inFile = w.large != nil
	if err != nil {
		w.close()
		return writeError(err)
	}
	d.size = uint32(n)
	if !d.inFile {
		d.body = w.small.Bytes()
	}
	return nil
}

// abandon deletes the files of drafts that did not become messages.
func (s *Spool) abandon(drafts []*draft) {
	for _, d := range drafts {
		if d.inFile && s.failed() == nil {
			_ = s.fs.Remove(fileName(contentPrefix, d.file))
		}
	}
}

// encode puts a message's records in a ticket, the deliveries first, so that
// a claim of the only delivery reads both at once.
func (s *Spool) encode(now time.Time, d *draft, t *ticket) {
	m := record.Message{ID: d.number, Envelope: *d.message, Size: d.size, InFile: d.inFile}
	if m.Envelope.Arrived.IsZero() {
		m.Envelope.Arrived = now
	}
	t.frames = slices.Grow(t.frames, len(d.parts)+1)
	list := slices.Grow(d.delivery[:0], len(d.parts))
	recipients := slices.Grow(d.recipients[:0], len(d.message.Recipients))
	heads := d.heads[:0]
	for i, p := range d.parts {
		list = append(list, record.Delivery{
			ID: d.number, Destination: p.Destination,
			Due: m.Envelope.NotBefore, Tenant: m.Envelope.Tenant, Priority: m.Envelope.Priority,
			Size: d.size, InFile: d.inFile, AtMostOnce: m.Envelope.Guarantee == queue.AtMostOnce,
		})
		r := &list[i]
		if r.Due.IsZero() {
			r.Due, r.AtOnce = now, true
		}
		from := len(recipients)
		for _, n := range p.Recipients {
			recipients = append(recipients, record.Recipient{
				Recipient: d.message.Recipients[n], State: queue.State{Index: n},
			})
		}
		r.Recipients = recipients[from:len(recipients):len(recipients)]
		f := frame{home: len(d.parts) - i}
		f.Kind = record.KindDelivery
		f.Head, heads = split(heads, r.Append(heads))
		t.frames = append(t.frames, f)
	}
	f := frame{}
	f.Kind, f.Body, f.BodySum = record.KindMessage, d.body, d.bodySum
	f.Head, _ = split(heads, m.Append(heads))
	t.frames = append(t.frames, f)
	cost := messageCost(f.Len(), f.Head, len(d.parts))
	t.apply = func(h *hold, g *segment, at []uint32) { s.added(h, g, at, list, d, cost) }
}

// headRoom is what the heads of a message to one recipient fit into, mostly.
const headRoom = 448

// split returns what was appended, and the room after it.
func split(room, appended []byte) (head, rest []byte) {
	n := len(appended)
	return appended[len(room):n:n], appended[n:]
}

// added puts a message in the index that is now in the log. One with more deliveries
// than one hold of the lock takes is found only when all are there, and then they become
// due for claims in turns.
func (s *Spool) added(h *hold, g *segment, at []uint32, list []record.Delivery, d *draft, cost int64) {
	g.cost += cost
	entry := func(i int) index.Entry {
		e := entryOf(&list[i])
		e.Home, e.Record = g.slot, g.place(at[i])
		return e
	}
	if len(list) <= holdMax {
		var room [1]index.Entry
		entries := room[:0]
		for i := range list {
			entries = append(entries, entry(i))
		}
		h.step(len(list) - 1)
		s.index.Add(entries)
		s.appeared(d)
		return
	}
	a := s.index.Arrive(d.number)
	for i := range list {
		h.step(1)
		a.Add(entry(i))
	}
	a.Appear()
	s.appeared(d)
	for more := true; more; {
		h.step(1)
		more = a.Queue(1)
	}
}

// appeared is for when a message is in the index.
func (s *Spool) appeared(d *draft) {
	if d.keyed {
		s.rememberKey(d.key, d.number)
	}
}

// entryOf is a delivery's record as the index keeps it, without its place.
func entryOf(r *record.Delivery) index.Entry {
	e := index.Entry{
		Message: r.ID, Destination: r.Destination, Tenant: r.Tenant, Priority: r.Priority,
		AtOnce: r.AtOnce, Since: index.Micros(r.Due), Size: r.Size,
	}
	for i, on := range [...]bool{r.Held, r.AtMostOnce, r.Marked, r.InFile} {
		if on {
			e.Flags |= [...]index.Flags{index.Held, index.AtMostOnce, index.Marked, index.InFile}[i]
		}
	}
	return e
}
