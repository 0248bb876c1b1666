package disk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// life is a spool that is used at random while a model of what it must hold is
// kept beside it, on a file system that loses power.
type life struct {
	rng    *rand.Rand
	fs     *crashfs.FS
	o      Options
	s      *Spool
	now    time.Time
	claims []queue.Delivery

	// known is what each delivery may be found to be: the last element is what
	// it is, the first what it was when the log was last saved, and those in
	// between what it was meanwhile. An empty string is that it is not there.
	known    map[deliveryKey][]string
	memory   map[deliveryKey][]string // what those may be found to be whose last settlement is in memory only
	content  map[string]string        // of each message
	postpone map[string][]string      // as known, for destinations
	halted   []string                 // what is suspended, and what calls make of it that were refused since, or are under way
	flight   []flight                 // what the call under way may have done
	refused  []flight                 // what calls may have done that were refused since the log could last be saved
	serial   int

	learned
}

type deliveryKey struct{ id, destination string }

// flight is a message or a settlement that was under way: whole or not at all.
type flight struct {
	content      string // of the message that may be there, "" for none
	destinations int
	key          deliveryKey // of the delivery settled with it
	mark         bool        // any delivery may have been marked
}

func newLife(seed uint64, o Options) *life {
	o.KeepKeys = 20 * time.Second // so that keys come and go
	told := newLearned(seed, &o)
	l := &life{
		learned: told,
		rng:     rand.New(rand.NewPCG(seed, 1)), fs: crashfs.New(seed), o: o,
		now:   time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		known: map[deliveryKey][]string{}, memory: map[deliveryKey][]string{}, content: map[string]string{}, postpone: map[string][]string{},
	}
	l.fs.Meanwhile(func() {}) // nobody else is there
	return l
}

func (l *life) open() error {
	s, err := openByHand(l.fs, l.o)
	if err != nil {
		return err
	}
	l.s, l.claims = s, nil
	return nil
}

func openByHand(fs vfs.FS, o Options) (*Spool, error) {
	s, err := open(fs, o)
	if err == nil {
		s.byHand = true
	}
	return s, err
}

// step does one thing at random. An error is one of the spool's.
func (l *life) step() error {
	l.flight = nil
	l.now = l.now.Add(time.Duration(l.rng.IntN(5000)) * time.Millisecond)
	switch n := l.rng.IntN(100); {
	case n < 28:
		return l.put()
	case n < 43:
		return l.claim()
	case n < 47:
		return l.mark()
	case n < 80:
		return l.settle()
	case n < 85:
		return l.compact()
	case n < 87:
		return l.hold()
	case n < 88:
		return l.suspend()
	case n < 90:
		return l.drop()
	case n < 92:
		return l.flush()
	case n < 94:
		return l.postponed()
	case n < 95:
		return l.checkpoint()
	case n < 97:
		return l.learn(1 + l.rng.IntN(5))
	case n < 98:
		return l.s.maintain(context.Background())
	default:
		if err := l.s.save(); err != nil {
			return err
		}
		l.saved()
		return nil
	}
}

// checkpoint saves the log too.
func (l *life) checkpoint() error {
	if err := l.s.takeCheckpoint(context.Background()); err != nil {
		return err
	}
	l.saved()
	return nil
}

// saved is for when the log has been saved: nothing can be what it was before.
func (l *life) saved() {
	l.refused = nil
	for k, v := range l.known {
		l.known[k] = v[len(v)-1:]
		if v[len(v)-1] == "" {
			l.known[k] = []string{""}
		}
	}
	for k, v := range l.postpone {
		l.postpone[k] = v[len(v)-1:]
	}
}

// recipientsOf is the end of a version, without what changes with each attempt of
// the whole delivery.
func recipientsOf(version string) string {
	_, rest, _ := strings.Cut(version, ":")
	return rest
}

func (l *life) become(k deliveryKey, version string) {
	delete(l.memory, k)
	l.known[k] = append(l.known[k], version)
}

func (l *life) message() (*queue.Message, string) {
	l.serial++
	size := []int{10, 100, 3000, 6000, 9000}[l.rng.IntN(5)]
	text := fmt.Sprintf("%d:%s", l.serial, strings.Repeat(fmt.Sprint(l.serial%10), size))
	m := &queue.Message{From: "a@example.org", Content: queue.String(text), Tenant: fmt.Sprint(l.rng.IntN(2))}
	if l.rng.IntN(4) == 0 {
		m.Content = hidden{m.Content}
	}
	for i := range 1 + l.rng.IntN(3)*l.rng.IntN(3) {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("u%d@d%d.example", i, l.rng.IntN(4))})
	}
	if l.rng.IntN(3) == 0 {
		m.NotBefore = l.now.Add(time.Duration(l.rng.IntN(20)) * time.Second)
	}
	if l.rng.IntN(4) == 0 {
		m.Guarantee = queue.AtMostOnce
	}
	m.Priority = l.rng.IntN(3)
	if l.rng.IntN(4) == 0 {
		m.Key = fmt.Sprint(l.rng.IntN(20))
	}
	l.parts[text], _ = queue.Split(m)
	return m, text
}

// hidden is content of which nothing is known before it is read.
type hidden struct{ queue.Content }

func (hidden) Size() int64 { return -1 }

func (l *life) put() error {
	m, text := l.message()
	parts, _ := queue.Split(m)
	l.flight = []flight{{content: text, destinations: len(parts)}}
	id, err := l.s.Put(context.Background(), l.now, m)
	if errors.Is(err, queue.ErrDuplicate) {
		return nil
	}
	if err != nil {
		return err
	}
	l.flight = nil
	l.saved()
	l.came(id, m, text)
	return nil
}

func (l *life) came(id string, m *queue.Message, text string) {
	l.content[id] = text
	parts, _ := queue.Split(m)
	for _, p := range parts {
		k := deliveryKey{id, p.Destination}
		l.known[k] = []string{l.version(k)}
	}
}

// version is what the spool says a delivery is now.
func (l *life) version(k deliveryKey) string {
	number, _ := parseID(k.id)
	l.s.mu.Lock()
	slot, found := l.s.index.Find(number, k.destination)
	l.s.mu.Unlock()
	if !found {
		return ""
	}
	v, err := describe(l.s, slot, number)
	if errors.Is(err, crashfs.ErrPowerCut) || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EMFILE) {
		return unseen
	}
	if err != nil {
		return "unreadable: " + err.Error()
	}
	return v
}

// unseen is a version that could not be looked at: the power was cut at the end
// of the very call that made it, or reading fails for now. It is there.
const unseen = "?"

func describe(s *Spool, slot index.Slot, number uint64) (string, error) {
	d, m, err := s.readBoth(slot, number)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	hold := "no"
	if d.Held {
		hold = fmt.Sprintf("%v/%v/%s", d.Hold.Since.UnixMicro(), d.Hold.Until.UnixMicro(), d.Hold.Reason)
	}
	fmt.Fprintf(&b, "%d %s %v %v held=%s warned=%v marked=%v because=%s %s %d:", d.ID, d.Destination, d.AtOnce,
		d.Due.UnixMicro(), hold, d.Warned, d.Marked, d.Because, m.Envelope.From, m.Size)
	for _, r := range d.Recipients {
		fmt.Fprintf(&b, " %s/%d/%d/%v/%s", r.Address, r.Index, r.Attempts, r.Outcome, r.Reply.Text)
	}
	return b.String(), nil
}

func (l *life) claim() error {
	if _, end, any := l.s.holdEnds.First(); any && end <= index.Micros(l.now) {
		defer l.all("")
	}
	got, err := l.s.Claim(context.Background(), l.now, queue.ClaimOptions{Max: 1 + l.rng.IntN(5), Lease: 10 * time.Second})
	if err != nil {
		return err
	}
	l.claims = append(l.claims, got.Deliveries...)
	if len(got.Unreadable) > 0 { // the others were handed out all the same
		return fmt.Errorf("unreadable: %w", got.Unreadable[0].Err)
	}
	return nil
}

// mark marks what is claimed and to be sent at most once, all of it or one.
func (l *life) mark() error {
	var leases []queue.Lease
	for _, d := range l.claims {
		if d.Message.Guarantee == queue.AtMostOnce {
			leases = append(leases, d.Lease)
		}
	}
	if len(leases) == 0 {
		return nil
	}
	if l.rng.IntN(2) == 0 {
		i := l.rng.IntN(len(leases))
		leases = leases[i : i+1]
	}
	l.flight = []flight{{mark: true}}
	err := l.s.Mark(context.Background(), leases)
	if errors.Is(err, queue.ErrLeaseLost) {
		l.flight = nil
		return nil
	}
	if err != nil {
		return err
	}
	l.flight = nil
	wrote := false // those that are marked already need nothing
	for _, lease := range leases {
		k := deliveryKey{lease.Message, lease.Destination}
		if v := l.version(k); v != last(l.known[k]) {
			l.become(k, v)
			wrote = true
		}
	}
	if wrote {
		l.saved()
	}
	return nil
}

func last(v []string) string { return v[len(v)-1] }

func (l *life) settle() error {
	if len(l.claims) == 0 {
		return nil
	}
	i := l.rng.IntN(len(l.claims))
	d := l.claims[i]
	l.claims = slices.Delete(l.claims, i, i+1)
	k := deliveryKey{d.Lease.Message, d.Lease.Destination}
	b := queue.Settlement{Lease: d.Lease, NotBefore: l.now.Add(time.Duration(l.rng.IntN(9)) * time.Second)}
	if l.rng.IntN(3) == 0 {
		b.Reason = fmt.Sprint("reason-", l.serial)
	}
	for _, st := range d.States {
		b.Results = append(b.Results, queue.Result{
			Recipient: st.Index, Outcome: queue.Outcome(l.rng.IntN(4)),
			Reply: queue.Reply{Code: 451, Text: fmt.Sprint("try ", st.Attempts)},
		})
	}
	var bounce *queue.Message
	var text string
	f := flight{key: k}
	if l.rng.IntN(3) == 0 {
		bounce, text = l.message()
		b.Create = []*queue.Message{bounce}
		parts, _ := queue.Split(bounce)
		f.content, f.destinations = text, len(parts)
	}
	l.flight = []flight{f}
	ended := l.settles(&b, &d)
	done, err := l.s.Settle(context.Background(), l.now, []queue.Settlement{b})
	if err == nil {
		err = done[0].Err
	}
	ended(err)
	if errors.Is(err, queue.ErrLeaseLost) {
		l.flight = nil
		return nil
	}
	if err != nil {
		return err
	}
	l.flight = nil
	before := append(l.memory[k], l.known[k]...)
	l.become(k, l.version(k))
	if v := last(l.known[k]); v != "" && len(b.Results) > 0 && recipientsOf(v) == recipientsOf(last(before)) {
		l.memory[k] = before // there was no room to record when to try again
	}
	if bounce == nil || done[0].NoRoom {
		return nil
	}
	if _, known := l.content[done[0].Created[0]]; !known {
		l.saved()
		l.came(done[0].Created[0], bounce, text)
	}
	return nil
}
