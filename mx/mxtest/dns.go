package mxtest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// DNS is all that there is in DNS, and an mx.Resolver that knows it. The zero
// value is a DNS where no name exists.
//
// Set the fields before the first question and use the methods afterwards;
// then a DNS is safe for concurrent use. It must not be copied after its first
// use.
type DNS struct {
	// Zone is zone text in BIND's notation (RFC 1035 section 5): one zone or
	// several, one after another, each from its $ORIGIN on. Class and TTL may be
	// left out; without $TTL a TTL is 300, after $GENERATE 3600. $INCLUDE is not
	// allowed. What all lines are indented by does not count.
	Zone string

	// Signed says which names DNSSEC vouches for: a domain and all below it,
	// where the closest entry decides, "." being the root. Names without an
	// entry are not signed.
	Signed map[string]bool

	// Validates makes the fake resolver one that validates by itself, which knows of
	// each link of a chain whether it is signed. Without it the fake knows what the AD
	// bit of a response says, which is about the chain as a whole.
	Validates bool

	// Rules are what questions meet instead of, or on top of, what the zone
	// says. The first that applies to a question is used, and no other.
	Rules []Rule

	// Timeout is how long the fake resolver waits for an answer that does not
	// come or is late; 0 is 5 s. Real clients have a time of their own.
	Timeout time.Duration

	mu     sync.Mutex
	zone   *zone // Zone as read; nil before the first use
	signed map[string]bool
	rules  []*rule
	log    []Query
	counts map[question]int
}

var _ mx.Resolver = (*DNS)(nil)

// question is what is asked, the name in canonical form.
type question struct {
	name string
	t    mx.Type
}

// Validate says everything that is wrong with the fields: a *SyntaxError for
// text that cannot be read, and for the rest the name of the field. A DNS that
// is not valid answers no question.
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

// SetZone replaces all records by those of the text. Text that cannot be read
// is returned as a *SyntaxError, and changes nothing.
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

// SetSigned says from now on whether DNSSEC vouches for name and all below it.
func (d *DNS) SetSigned(name string, is bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.prepare()
	d.signed[canonical(name)] = is
}

// Set puts r before all other rules and drops those with the same Name, Type,
// Transport, EDNS and Over. A rule with nothing else set ends those: the zone answers again.
// A rule that makes no sense is returned as an error, and changes nothing.
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
