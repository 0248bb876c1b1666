package queue

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Selection names deliveries: those that all of its fields fit. The zero value is
// everything.
type Selection struct {
	// Message is a message's id.
	Message string

	// Destination is a destination in canonical form.
	Destination string

	// From is the reverse-path of the message: a mailbox, or "@" and a domain for
	// all of that domain, or "<>" for the null reverse-path. Upper and lower case
	// are the same.
	From string

	// Tenant is whose mail it is.
	Tenant string

	// Before is when the message arrived at the latest.
	Before time.Time

	// Status is the enhanced status code that the recipient was last deferred with,
	// or the beginning of one: "4.7" is any of 4.7.X. Several with spaces between them
	// are any of these.
	Status string
}

// ByName reports whether the selection goes by names that every queue finds mail by:
// of a message, of a destination, of both, or of neither.
func (s Selection) ByName() bool {
	return s == Selection{Message: s.Message, Destination: s.Destination}
}

// matchesMessage reports whether the selection fits a message as a whole.
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

// Select calls visit with every message of q of which the selection names a
// recipient, oldest first, and with the positions in Waiting of those that it names.
// It goes through the list page by page, and so shuts nobody out. visit may change
// the queue. Messages that cannot be read are passed over, unless unreadable is
// called with their ids. It answers errors.ErrUnsupported for a queue that is no
// Lister, and the first error of visit.
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
