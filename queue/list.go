package queue

import (
	"context"
	"time"
)

// Lister is a queue that shows what it holds (rules A1 and A2).
type Lister interface {
	// List returns one page of messages, oldest first.
	List(ctx context.Context, want ListOptions) (Page, error)

	// Show returns one message. Errors: ErrNotFound, ErrDamaged, ErrClosed.
	Show(ctx context.Context, id string) (Entry, error)
}

// ListOptions says which page of the list is wanted. The zero value is the
// first page of everything.
type ListOptions struct {
	// After is the Next of the page before. Default: the first page.
	After string

	// Max is how many messages to return at most. Default: DefaultMax.
	Max int

	// Destination restricts the list to messages that wait for this
	// destination, in canonical form. Default: all. An Entry then still shows
	// all its recipients.
	Destination string
}

// Page is a part of the list.
type Page struct {
	// Entries are messages in the order of their ids.
	Entries []Entry

	// Unreadable are the ids of messages in this part of the list that cannot be
	// read.
	Unreadable []string

	// Next is ListOptions.After of the next page; empty if this was the last.
	Next string
}

// Entry is one message in the queue. The caller owns it.
type Entry struct {
	// Message is the message as it was put, with its ID, Arrived filled in, and
	// two differences: Recipients are those still pending, in the order in which
	// they were put, and Content is nil.
	Message Message

	// Waiting tells where each of Message.Recipients stands.
	Waiting []Waiting

	// Size is the number of bytes of the content.
	Size int64

	// Held is whether the message is on hold, and Hold on which terms; zero if
	// it is not, or where the queue is no TermHolder.
	Held bool
	Hold Terms
}

// Waiting is where one pending recipient stands.
type Waiting struct {
	State

	// Destination is the recipient's domain in canonical form.
	Destination string

	// Next is when the recipient's delivery is next due, its destination's
	// postponement included. If zero, it is due at once. A hold is not in it.
	Next time.Time

	// Postponed is until when the destination is postponed for everybody, and
	// Reason why; zero if it is not.
	Postponed time.Time
	Reason    string

	// Leased is whether the delivery was claimed and not yet settled.
	Leased bool

	// Because is the reason of the last settlement (rule S11).
	Because string
}

// List returns one page of q's messages, oldest first. It answers
// errors.ErrUnsupported for a queue that is no Lister.
func List(ctx context.Context, q Queue, want ListOptions) (Page, error) {
	if l, ok := As[Lister](q); ok {
		return l.List(ctx, want)
	}
	return Page{}, unsupported("list")
}

// Show returns one of q's messages. It answers errors.ErrUnsupported for a
// queue that is no Lister.
func Show(ctx context.Context, q Queue, id string) (Entry, error) {
	if l, ok := As[Lister](q); ok {
		return l.Show(ctx, id)
	}
	return Entry{}, unsupported("show")
}
