package queue

import (
	"context"
	"time"
)

// Lister is a queue that can list its messages (rules A1 and A2).
type Lister interface {
	// List returns one page of messages, oldest first.
	List(ctx context.Context, want ListOptions) (Page, error)

	// Show returns one message. Errors: ErrNotFound, ErrDamaged, ErrClosed.
	Show(ctx context.Context, id string) (Entry, error)
}

// ListOptions selects a page of the list. The zero value selects the first page of all
// messages.
type ListOptions struct {
	// After is the Next of the previous page. Default: the first page.
	After string

	// Max is the maximum number of messages to return. Default: DefaultMax.
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

	// Next is ListOptions.After for the next page. It is empty on the last page.
	Next string
}

// Entry is one message in the queue. The caller owns it.
type Entry struct {
	// Message is the message as it was put, with ID and Arrived filled in. Recipients are
	// only the pending ones, in the order in which they were put. Content is nil.
	Message Message

	// Waiting has the state of each of Message.Recipients.
	Waiting []Waiting

	// Size is the number of bytes of the content.
	Size int64

	// Held reports whether the message is on hold. Hold has the terms. It is zero if the
	// message is not on hold or the queue is not a TermHolder.
	Held bool
	Hold Terms
}

// Waiting is the state of one pending recipient in the queue.
type Waiting struct {
	State

	// Destination is the recipient's domain in canonical form.
	Destination string

	// Next is when the recipient's delivery is due, with the postponement of its
	// destination taken into account, but not a hold. If it is zero, the delivery is due
	// at once.
	Next time.Time

	// Postponed is the end of the destination's postponement without an owner, and
	// Reason its reason. Both are zero if there is none.
	Postponed time.Time
	Reason    string

	// Leased reports whether the delivery was claimed and is not yet settled.
	Leased bool

	// Because is the reason of the last settlement (rule S11).
	Because string
}

// List returns one page of q's messages, oldest first. It returns errors.ErrUnsupported if
// q is not a Lister.
func List(ctx context.Context, q Queue, want ListOptions) (Page, error) {
	if l, ok := As[Lister](q); ok {
		return l.List(ctx, want)
	}
	return Page{}, unsupported("list")
}

// Show returns one of q's messages. It returns errors.ErrUnsupported if q is not a Lister.
func Show(ctx context.Context, q Queue, id string) (Entry, error) {
	if l, ok := As[Lister](q); ok {
		return l.Show(ctx, id)
	}
	return Entry{}, unsupported("show")
}
