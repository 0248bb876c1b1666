package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// compare compares what is there after an end with what may be, and takes it for
// what is saved from now on.
func (w *owner) compare(s *Spool) error {
	page, err := s.List(context.Background(), queue.ListOptions{Max: 1 << 30})
	if err != nil || len(page.Unreadable) > 0 {
		return fmt.Errorf("list: %w, unreadable %v", err, page.Unreadable)
	}
	there := map[string]*queue.Entry{}
	for i := range page.Entries {
		if e := &page.Entries[i]; e.Message.Tenant == w.name {
			there[e.Message.ID] = e
		}
	}
	texts := map[string]bool{}
	for id := range there {
		text, err := readContent(s, id)
		if err != nil {
			return fmt.Errorf("content of %s: %w", id, err)
		}
		if w.no[text] {
			return fmt.Errorf("%s was refused and is there", id)
		}
		texts[text] = true
		if m := w.mail[id]; m != nil && m.text != text {
			return fmt.Errorf("content of %s: %q, want %q", id, text, m.text)
		}
	}
	for id, m := range w.mail {
		m.note("the end")
		if err := w.compareMail(s, m, there[id]); err != nil {
			return fmt.Errorf("%w; %s", err, strings.Join(m.history, "; "))
		}
	}
	for _, f := range w.flight {
		if err := f.compare(texts); err != nil {
			return err
		}
	}
	w.flight = nil
	for id, e := range there {
		if w.mail[id] == nil {
			if err := w.compareNew(s, e); err != nil {
				return err
			}
		}
	}
	for _, l := range w.leases {
		list, err := s.Extend(context.Background(), w.now, []queue.Lease{l}, time.Hour)
		if err != nil || !errors.Is(list[0].Err, queue.ErrLeaseLost) {
			return fmt.Errorf("the lease of a life before can be extended: %v, %w", list, err)
		}
	}
	w.leases = nil
	return nil
}

func (w *owner) compareMail(s *Spool, m *mail, e *queue.Entry) error {
	if e == nil && m.gone {
		return w.againIfKeyed(s, m)
	}
	have := map[string]int{}
	if e != nil {
		if m.gone {
			return fmt.Errorf("%s had left and is back", m.id)
		}
		for _, r := range e.Waiting {
			have[r.Destination] = r.Attempts
		}
		if !slices.Contains(m.held, e.Held) {
			return fmt.Errorf("%s: held is %v, want one of %v", m.id, e.Held, m.held)
		}
		m.held = []bool{e.Held}
	}
	for at, v := range m.attempts {
		n, is := have[at]
		if !is {
			n = ended
		}
		if !slices.Contains(v, n) && !(m.dropping && n == ended) {
			return fmt.Errorf("%s at %s has %d attempts (-1: ended), want one of %v", m.id, at, n, v)
		}
		m.attempts[at] = []int{n}
	}
	m.gone, m.dropping = e == nil, false
	return w.againIfKeyed(s, m)
}

func (w *owner) againIfKeyed(s *Spool, m *mail) error {
	if m.key == "" {
		return nil
	}
	return w.again(s, m)
}

// compare checks that a settlement and what it creates are there together, or
// neither is.
func (f *settlementUnder) compare(texts map[string]bool) error {
	n := 0
	for _, text := range f.texts {
		if texts[text] {
			n++
		}
	}
	if n > 0 && n < len(f.texts) {
		return fmt.Errorf("%d of the %d messages that a settlement created", n, len(f.texts))
	}
	if is := f.mail.attempts[f.destination][0]; (is == f.after) != (n > 0) {
		return fmt.Errorf("%s at %s has %d attempts (-1: ended), and %d messages that its settlement created are there",
			f.mail.id, f.destination, is, n)
	}
	return nil
}

// compareNew takes over a message that nobody was told of: it was on its way in
// when the end came.
func (w *owner) compareNew(s *Spool, e *queue.Entry) error {
	id := e.Message.ID
	if w.ids[id] {
		return fmt.Errorf("%s had left and is back", id)
	}
	text, err := readContent(s, id)
	if err != nil || !strings.HasPrefix(text, w.name+"-") {
		return fmt.Errorf("%s, that nobody was told of: %q, %w", id, text, err)
	}
	m := &mail{text: text, key: e.Message.Key, once: e.Message.Guarantee == queue.AtMostOnce,
		attempts: map[string][]int{}, held: []bool{e.Held}, marks: map[string]mark{}}
	for _, r := range e.Waiting {
		m.attempts[r.Destination] = []int{r.Attempts}
	}
	return w.came(id, m)
}
