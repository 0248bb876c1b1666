package mxtest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// DNS holds the content of DNS, and is an mx.Resolver that answers from it. In the zero
// value, no name exists.
//
// Set the fields before the first question, and use the methods afterwards; then it is
// safe for concurrent use. It must not be copied after its first use.
type DNS struct {
	// Zone is zone text in BIND's notation (RFC 1035 section 5): one zone or several, each
	// of which begins with its $ORIGIN. Class and TTL may be left out. Without $TTL the
	// TTL is 300, after $GENERATE 3600. $INCLUDE is not allowed. Indentation that all
	// lines have in common is ignored.
	Zone string

	// Signed says which names DNSSEC authenticates. An entry is for a domain and all names
	// below it; "." is the root. The closest entry decides. Names without an entry are not
	// signed.
	Signed map[string]bool

	// Validates makes the fake resolver validate by itself, so that it knows for each link
	// of a chain whether it is signed. If false, it knows only the AD bit of the response,
	// which is about the chain as a whole.
	Validates bool

	// Rules change the answers to questions. Only the first that applies to a question is
	// used.
	Rules []Rule

	// Timeout is how long the fake resolver waits for an answer that is late or does not
	// come. Default: 5 s. Real clients have their own timeout.
	Timeout time.Duration

	mu     sync.Mutex
	zone   *zone // Zone as read; nil before the first use
	signed map[string]bool
	rules  []*rule
	log    []Query
	counts map[question]int
}

var _ mx.Resolver = (*DNS)(nil)

// question is a question, with the name in canonical form.
type question struct {
	name string
	t    mx.Type
}

// Validate reports everything that is wrong with the fields: text that cannot be read as a
// *SyntaxError, other problems with the name of the field. A DNS that is not valid answers
// no question.
func (d *DNS) Validate() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.validate()
}

// validate is Validate for those that hold the lock.
func (d *DNS) validate() error {
	d.prepare()
	problems := []error{d.zone.err}
	for i, r := range d.rules {
		if r.err != nil {
			problems = append(problems, fmt.Errorf("mxtest.DNS.Rules[%d]: %w", i, r.err))
		}
	}
	if d.Timeout < 0 {
		problems = append(problems, fmt.Errorf("mxtest.DNS.Timeout: %v is negative", d.Timeout))
	}
	return errors.Join(problems...)
}

// prepare reads the fields at the first use.
func (d *DNS) prepare() {
	if d.zone != nil {
		return
	}
	d.zone = readZone(d.Zone)
	d.signed = make(map[string]bool, len(d.Signed))
	for name, is := range d.Signed {
		d.signed[canonical(name)] = is
	}
	for _, r := range d.Rules {
		d.rules = append(d.rules, newRule(r))
	}
	d.counts = make(map[question]int)
}

// SetZone replaces all records by those of the text. If the text cannot be read, SetZone
// returns a *SyntaxError and changes nothing.
func (d *DNS) SetZone(text string) error {
	z := readZone(text)
	if z.err != nil {
		return z.err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.prepare()
	d.zone = z
	return nil
}

// SetSigned sets whether DNSSEC authenticates name and all names below it.
func (d *DNS) SetSigned(name string, is bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.prepare()
	d.signed[canonical(name)] = is
}

// Set puts r before all other rules and removes those with the same Name, Type, Transport,
// EDNS and Over. If no other field of r is set, the zone answers again. If r is invalid,
// Set returns an error and changes nothing.
func (d *DNS) Set(r Rule) error {
	fresh := newRule(r)
	if fresh.err != nil {
		return fmt.Errorf("mxtest.Rule: %w", fresh.err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.prepare()
	rules := []*rule{fresh}
	for _, old := range d.rules {
		if !old.like(fresh) {
			rules = append(rules, old)
		}
	}
	d.rules = rules
	return nil
}
