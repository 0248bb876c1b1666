package mxtest

import (
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// Query is one question that was asked.
type Query struct {
	// Name is in canonical form. Type may be the number of any type.
	Name string
	Type mx.Type

	// Transport is "udp" or "tcp". It is empty if the fake resolver was asked.
	Transport string

	// Server and Client are the host:port of the two sides. They are empty if the fake
	// resolver was asked.
	Server, Client string

	// ID is the id of the query.
	ID uint16

	// RD, CD, AD and DO are its bits: recursion desired, checking disabled,
	// authentic data, and DNSSEC answers OK.
	RD, CD, AD, DO bool

	// UDPSize is the size that EDNS offers. It is 0 if the query has no EDNS.
	UDPSize uint16

	// At is when it was asked.
	At time.Time
}

// Queries returns all questions so far, in order.
func (d *DNS) Queries() []Query {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.log)
}

// Count returns how often the records of type t at name were asked for. If t is 0, it
// counts questions of any type. Names that an answer reaches through an alias do not
// count, because they were not asked for.
func (d *DNS) Count(name string, t mx.Type) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[question{canonical(name), t}]
}

// Forget empties the list of queries and resets the counts.
func (d *DNS) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = nil
	clear(d.counts)
}

// note writes down a question.
func (d *DNS) note(asked Query, q question) {
	asked.At = time.Now()
	d.log = append(d.log, asked)
	d.counts[q]++
	d.counts[question{name: q.name}]++
}
