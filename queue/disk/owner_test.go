package disk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// owner uses a spool at random. It has messages and destinations of its own, and
// knows what they may have become.
type owner struct {
	name   string
	rng    *rand.Rand
	cause  error // of what fails beside the power
	keys   bool  // those of messages that have left are remembered
	mail   map[string]*mail
	ids    map[string]bool   // that were ever given
	no     map[string]bool   // texts of what was refused
	flight []settlementUnder // settlements that were not answered
	leases []queue.Lease     // of the life before
	now    time.Time
	serial int
	steps  int
	unsure bool // a refusal may turn out to be none after a power cut: a sync failed for want of room
}

// mail is a message as its owner knows it.
type mail struct {
	id, text, key string
	once          bool
	// attempts is what the number of attempts of each delivery may be: the last is
	// what it is, those before what it was since the log was last saved. ended is
	// that it is not there any more.
	attempts map[string][]int
	held     []bool // as attempts
	marks    map[string]mark
	dropping bool // a Drop is under way
	dropped  bool // one was
	gone     bool // it has left, and that is saved

	history []string // for when something is wrong
}

func (m *mail) note(format string, args ...any) {
	m.history = append(m.history, fmt.Sprintf(format, args...))
}

// mark is whether a delivery was marked since it was settled. A settlement that is
// lost brings the mark back.
type mark int

const (
	unmarked mark = iota
	perhapsMarked
	marked
)

const ended = -1

// settlementUnder is a settlement under way that creates messages.
type settlementUnder struct {
	mail        *mail
	destination string
	after       int      // its attempts, or ended
	texts       []string // of what it creates
}

func newOwner(name string, rng *rand.Rand, cause error) *owner {
	return &owner{name: name, rng: rng, cause: cause, now: time.Unix(1e9, 0),
		mail: map[string]*mail{}, ids: map[string]bool{}, no: map[string]bool{}}
}

func (w *owner) destination(i int) string { return fmt.Sprintf("d%d.%s.example", i, w.name) }

// widest is how many destinations a message goes to at most.
const widest = 12

func (w *owner) destinations() (list []string) {
	for i := range widest {
		list = append(list, w.destination(i))
	}
	return list
}

// step does one thing at random. An error ends the owner's life.
func (w *owner) step(s *Spool) error {
	w.steps++
	w.now = w.now.Add(time.Duration(w.rng.IntN(7200)-3000) * time.Second) // back at times
	switch n := w.rng.IntN(100); {
	case n < 28:
		return w.put(s)
	case n < 73:
		return w.claim(s)
	case n < 81:
		return w.hold(s)
	case n < 85:
		return w.drop(s)
	case n < 90:
		return w.flush(s)
	case n < 94:
		p := queue.Postponement{Destination: w.destination(0), Until: w.now.Add(time.Duration(w.rng.IntN(2)) * time.Hour)}
		if w.rng.IntN(3) == 0 {
			p.Owner = w.name
		}
		return w.tell(s.Postpone(context.Background(), w.now, p))
	default:
		return w.look(s)
	}
}

// tell is the error of a call that may be refused.
func (w *owner) tell(err error) error {
	if w.refused(err) {
		return nil
	}
	return err
}

func (w *owner) message() (*queue.Message, *mail) {
	w.serial++
	m := &mail{attempts: map[string][]int{}, held: []bool{false}, marks: map[string]mark{}}
	m.text = strings.Repeat(fmt.Sprintf("%s-%d\n", w.name, w.serial), []int{1, 20, 400}[w.rng.IntN(3)])
	q := &queue.Message{From: w.name + "@example.org", Content: queue.String(m.text), Tenant: w.name, Priority: w.rng.IntN(2)}
	if w.rng.IntN(4) == 0 {
		q.Content = hidden{q.Content}
	}
	wide := 1 + w.rng.IntN(3)
	if w.rng.IntN(12) == 0 {
		wide = widest
	}
	for i := range wide {
		q.Recipients = append(q.Recipients, queue.Recipient{Address: "a@" + w.destination(i)})
		m.attempts[w.destination(i)] = []int{0}
	}
	if w.rng.IntN(3) == 0 {
		m.key = fmt.Sprint("k", w.serial)
		q.Key = m.key
	}
	if w.rng.IntN(4) == 0 {
		m.once, q.Guarantee = true, queue.AtMostOnce
	}
	if w.rng.IntN(5) == 0 {
		q.NotBefore = w.now.Add(time.Hour)
	}
	return q, m
}

func (w *owner) put(s *Spool) error {
	q, m := w.message()
	id, err := s.Put(context.Background(), w.now, q)
	if w.refused(err) {
		w.no[m.text] = !w.unsure
		return nil
	}
	if err != nil {
		return err
	}
	w.saved()
	return w.came(id, m)
}

// came notes a message that the spool has taken.
func (w *owner) came(id string, m *mail) error {
	if w.ids[id] {
		return fmt.Errorf("id %s was given twice", id)
	}
	w.ids[id], w.mail[id], m.id = true, m, id
	m.note("came at step %d", w.steps)
	return nil
}

// saved is for when something was saved that this owner did later than all else.
func (w *owner) saved() {
	for _, m := range w.mail {
		for d, v := range m.attempts {
			m.attempts[d] = v[len(v)-1:]
		}
	}
}

// any is one of the messages that may be there.
func (w *owner) any() *mail {
	var there []string
	for id, m := range w.mail {
		if !m.gone {
			there = append(there, id)
		}
	}
	if len(there) == 0 {
		return nil
	}
	slices.Sort(there)
	return w.mail[there[w.rng.IntN(len(there))]]
}

func (w *owner) hold(s *Spool) error {
	m := w.any()
	if m == nil {
		return nil
	}
	held, do := w.rng.IntN(2) == 0, s.Release
	if held {
		do = s.Hold
	}
	before := m.held
	m.held = append(m.held, held)
	err := do(context.Background(), m.id)
	m.note("%d: held %v: %v", w.steps, held, err)
	switch {
	case errors.Is(err, queue.ErrNotFound):
		m.held = before
		return w.left(m)
	case w.refused(err) && w.unsure:
		m.held = append(m.held, before[len(before)-1])
		return nil
	case w.refused(err):
		m.held = before
		return nil
	case err != nil:
		return err
	}
	m.held = []bool{held}
	w.saved()
	return nil
}

func (w *owner) drop(s *Spool) error {
	m := w.any()
	if m == nil {
		return nil
	}
	m.dropping, m.dropped = true, true // the key may be forgotten
	err := s.Drop(context.Background(), m.id)
	m.note("%d: dropped: %v", w.steps, err)
	if err != nil && !errors.Is(err, queue.ErrNotFound) && !w.refused(err) {
		return err
	}
	m.dropping = w.unsure && w.refused(err)
	switch {
	case w.refused(err):
		return nil
	case err != nil:
		return w.left(m)
	}
	m.gone = true
	w.saved()
	return nil
}

// left checks a message that is not found: all its deliveries have ended.
func (w *owner) left(m *mail) error {
	for _, v := range m.attempts {
		if v[len(v)-1] != ended {
			return fmt.Errorf("%s is not found, and has %v", m.id, m.attempts)
		}
	}
	return nil
}

func (w *owner) flush(s *Spool) error {
	what := queue.Selection{Destination: w.destination(0)}
	if m := w.any(); m != nil && w.rng.IntN(2) == 0 {
		what.Message = m.id
	}
	_, err := s.Flush(context.Background(), w.now, what)
	if errors.Is(err, queue.ErrNotFound) {
		return nil
	}
	return w.tell(err)
}

// look uses the methods that only tell something, and a key again.
func (w *owner) look(s *Spool) error {
	ctx := context.Background()
	m := w.any()
	if m == nil {
		_, err := s.Total(ctx)
		return err
	}
	switch w.rng.IntN(4) {
	case 0:
		_, err := s.List(ctx, queue.ListOptions{Max: 5})
		return w.tell(err)
	case 1:
		_, err := s.Survey(ctx, "", 3)
		return w.tell(err)
	case 2:
		if _, err := s.Show(ctx, m.id); !errors.Is(err, queue.ErrNotFound) {
			return w.tell(err)
		}
		return w.left(m)
	}
	if m.key == "" {
		return nil
	}
	return w.again(s, m)
}

// again puts a message with the key of one that is there, or was until it was
// settled.
func (w *owner) again(s *Spool, m *mail) error {
	there := slices.ContainsFunc(slices.Collect(maps.Values(m.attempts)), func(v []int) bool { return v[len(v)-1] != ended })
	if there && !m.gone || w.keys && !m.dropped {
		id, err := s.Put(context.Background(), w.now, &queue.Message{Tenant: w.name, Key: m.key, Content: queue.String("again"),
			Recipients: []queue.Recipient{{Address: "a@again.example"}}})
		if w.refused(err) {
			return nil
		}
		if !errors.Is(err, queue.ErrDuplicate) {
			return fmt.Errorf("the key of %s again: %s, %w", m.id, id, err)
		}
		if id != m.id {
			return fmt.Errorf("the key of %s is that of %s", m.id, id)
		}
	}
	return nil
}
