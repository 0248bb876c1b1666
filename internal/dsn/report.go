package dsn

import (
	"io"
	"time"
)

// Report is what a sender is to be told. Open may be called any number of times
// and gives the same octets each time, as long as the message can be read.
type Report struct {
	// Reporter is the host that reports: a domain, an address literal, or
	// whatever name it has.
	Reporter string

	// From and To are mailboxes as they go between angle brackets.
	From, To string

	// Date is the report's. ID is its Message-ID without angle brackets, and
	// Token what boundaries are made of: letters and digits, 60 at most, which
	// nobody could have known before.
	Date  time.Time
	ID    string
	Token string

	// EnvelopeID is the ENVID parameter, decoded; empty if there was none.
	EnvelopeID string

	// Arrived is when the message was accepted.
	Arrived time.Time

	// Recipients are those the report is about, at least one. No more than
	// MaxRecipients of them are named, and the longer the list, the less of each
	// reply: a short message to many must not cause a long report.
	Recipients []Recipient

	// More is how many others there are, who are not in Recipients.
	More int

	// Original opens the message; nil if it is not to be returned. Up to
	// MaxFull octets of it are returned whole, else the header; 0 is the header
	// always.
	Original func() (io.ReadCloser, error)
	MaxFull  int64
}

// MaxRecipients is how many recipients a report names.
const MaxRecipients = 1000

// Recipient is what became of one recipient.
type Recipient struct {
	// Address is as it was accepted. OriginalType and Original are the ORCPT
	// parameter, decoded; empty if there was none.
	Address                string
	OriginalType, Original string

	Action Action

	// Status is the status code (RFC 3463). One that is none is replaced by the
	// class that fits the action.
	Status string

	// Remote is the host that replied, with Code and, lines joined by "\n", Text.
	// Where none did, Code is zero and Text the reason in words.
	Remote string
	Code   int
	Text   string

	// LastAttempt is the time of the last attempt; zero if there was none.
	// RetryUntil is when a delayed recipient will be given up.
	LastAttempt, RetryUntil time.Time
}

// Action is the Action field (RFC 3464 section 2.3.3).
type Action uint8

// The actions that are reported.
const (
	Failed Action = iota
	Delayed
)

// String is the action as the field has it.
func (a Action) String() string {
	if a == Delayed {
		return "delayed"
	}
	return "failed"
}

// Size is -1: how long a report is turns out when it is read.
func (r *Report) Size() int64 { return -1 }

// Open gives the report. The error is always nil: what goes wrong with the
// message changes what is returned of it.
func (r *Report) Open() (io.ReadCloser, error) {
	o := survey(r.Original, r.Token)
	named := r.Recipients[:min(len(r.Recipients), MaxRecipients)]
	return &reader{report: r, named: named, more: r.More + len(r.Recipients) - len(named), original: o, boundary: o.boundary(r.Token), returned: o.returned(r.MaxFull)}, nil
}
