package mxtest

import (
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// Query is one question that was asked.
type Query struct {
	// Name is in canonical form, and Type the number of any type.
	Name string
	Type mx.Type

	// Transport is "udp" or "tcp", and empty where the fake resolver was asked.
	Transport string

	// Server and Client are host:port of who was asked and who asked; empty
	// where the fake resolver was asked.
	Server, Client string

	// ID is the id of the query.
	ID uint16

	// RD, CD, AD and DO are its bits: recursion desired, checking disabled,
	// authentic data, and DNSSEC answers OK.
	RD, CD, AD, DO bool

	// UDPSize is the size that EDNS offers; 0 is a query without EDNS.
	UDPSize uint16

	// At is when it was asked.
	At time.Time
}

// Queries is every question asked so far, in order.
func (d *DNS) Queries() []Query {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.log)
}

// Count is how often the records of type t at name were asked for, and for type
// 0 those of any type. Questions that an alias led to inside an answer were not
// asked and do not count.
func (d *DNS) Count(name string, t mx.Type) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[question{canonical(name), t}]
}

// Forget empties the list of queries and starts the counts again.
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
