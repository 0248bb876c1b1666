package queue

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Selection names the deliveries that match all of its fields. An empty field matches
// everything.
type Selection struct {
	// Message is a message's id.
	Message string

	// Destination is a destination in canonical form.
	Destination string

	// From is the reverse-path of the message: a mailbox, "@" and a domain for every
	// mailbox of that domain, or "<>" for the null reverse-path. Case is ignored.
	From string

	// Tenant is the message's tenant.
	Tenant string

	// Before is the latest time of arrival.
	Before time.Time

	// Status is the enhanced status code with which the recipient was last deferred, or
	// the beginning of one: "4.7" matches every 4.7.X. Separated by spaces, it can list
	// several, any of which matches.
	Status string
}

// ByName reports whether no field other than Message and Destination is set. Every Flusher
// accepts such a selection.
func (s Selection) ByName() bool {
	return s == Selection{Message: s.Message, Destination: s.Destination}
}

// matchesMessage reports whether the fields about the message match.
func (s *Selection) matchesMessage(m *Message) bool {
	switch {
	case s.Message != "" && s.Message != m.ID,
		s.Tenant != "" && s.Tenant != m.Tenant,
		!s.Before.IsZero() && m.Arrived.After(s.Before):
		return false
	}
	switch {
	case s.From == "":
		return true
	case s.From == "<>":
		return m.From == ""
	case s.From[0] == '@':
		at := strings.LastIndexByte(m.From, '@')
		return at >= 0 && strings.EqualFold(m.From[at:], s.From)
	default:
		return strings.EqualFold(m.From, s.From)
	}
}

// Matches returns the positions in e.Waiting of the recipients that the selection
// names.
func (s Selection) Matches(e *Entry) (list []int) {
	if !s.matchesMessage(&e.Message) {
		return nil
	}
	for i := range e.Waiting {
		w := &e.Waiting[i]
		if (s.Destination == "" || s.Destination == w.Destination) && s.matchesStatus(w) {
			list = append(list, i)
		}
	}
	return list
}

func (s *Selection) matchesStatus(w *Waiting) bool {
	if s.Status == "" {
		return true
	}
	for status := range strings.FieldsSeq(s.Status) {
		rest, fits := strings.CutPrefix(w.Reply.Enhanced, status)
		if fits && (rest == "" || rest[0] == '.' || strings.HasSuffix(status, ".")) {
			return true
		}
	}
	return false
}

// Select calls visit with every message of q that has a recipient which the selection
// names, oldest first, and with the positions of these recipients in Waiting. It reads the
// list page by page, so that other callers need not wait long. visit may change the queue.
// If unreadable is not nil, it is called with the id of each message that cannot be read.
// Select returns the first error of visit, and errors.ErrUnsupported if q is not a Lister.
func Select(
	ctx context.Context, q Queue, what Selection, visit func(e *Entry, named []int) error, unreadable func(id string),
) error {
	if what.Message != "" {
		e, err := Show(ctx, q, what.Message)
		if errors.Is(err, ErrDamaged) && unreadable != nil {
			unreadable(what.Message)
			return nil
		}
		if err != nil {
			return err
		}
		if named := what.Matches(&e); len(named) > 0 {
			return visit(&e, named)
		}
		return nil
	}
	for after := ""; ; {
		page, err := List(ctx, q, ListOptions{After: after, Max: pageLen, Destination: what.Destination})
		if err != nil {
			return err
		}
		for i := range page.Entries {
			e := &page.Entries[i]
			if named := what.Matches(e); len(named) > 0 {
				if err := visit(e, named); err != nil {
					return err
				}
			}
		}
		for _, id := range page.Unreadable {
			if unreadable != nil {
				unreadable(id)
			}
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
}

// pageLen is how many messages are looked at before others have their turn.
const pageLen = 200
