package tlsrpt

import (
	"cmp"
	"crypto/rand"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
)

// Counts has the numbers of sessions by day, recipient domain, policy and result. It is
// meant for all traffic of an agent: to count a session that satisfied its policy takes
// one table access and no memory.
//
// The memory that strangers can make it use is limited by MaxBytes. When that is
// reached, sessions are counted in less detail: failures under their Result alone,
// sessions under a policy without its text, and if there is no room for a domain at
// all, in LeftOut.
//
// The zero value is ready for use, and safe for concurrent use. It must not be copied.
type Counts struct {
	// MaxBytes is roughly the limit of memory for one day. Default: 32 MiB, which is
	// enough for some 50,000 domains.
	MaxBytes int

	mu   sync.Mutex
	name string     // in a Store
	days []*counted // at most keptDays, the latest last
}

// Limits of what is counted.
const (
	defaultBytes = 32 << 20
	keptDays     = 3

	mostPolicies = 16       // of a domain, with their text
	mostDetails  = 256      // of a domain, with all they have
	mostText     = 16 << 10 // of a policy
	mostHost     = 255
	mostReason   = 256
	mostInfo     = 512

	// Memory of an entry in addition to its text.
	costOfDomain, costOfPolicy, costOfDetail = 256, 256, 256
)

// counted has the counts of a day.
type counted struct {
	day     Day
	domains map[string]*domain
	bytes   int
	leftOut uint64
	changed bool // since it was saved
}

// domain has the counts of a domain.
type domain struct {
	policies []*tally
	details  int
}

// tally has the counts of sessions under one policy.
type tally struct {
	policy              Policy
	successes, failures uint64
	details             map[Failure]uint64
	bare                [results]uint64 // failures whose details had no room
}

// Add counts one session with a host of a domain, or an attempt at one, under the
// policy that was applied. A session without failures was successful. A session with
// several failures has failed once, and each failure is counted. The domain is the
// recipient domain in canonical form, or the domain of the smart host. Add does not
// keep or change its arguments.
//
// If several policies were applied to a session, it is counted for each of them.
// Sessions that failed for reasons other than TLS, such as a host that does not answer,
// are not counted (RFC 8460 section 4.3.4). Neither are sessions for messages that are
// exempt from policies, such as TLS reports (section 3).
func (c *Counts) Add(domain string, p *Policy, failures ...Failure) {
	today := DayOf(time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.at(today)
	d.changed = true
	t := d.tally(c.most(), domain, p)
	if t == nil {
		d.leftOut++
		return
	}
	failed := false
	for i := range failures {
		if f := &failures[i]; f.Result != Success && f.Result < results {
			failed = true
			d.detail(c.most(), domain, t, f, 1)
		}
	}
	if failed {
		t.failures++
	} else {
		t.successes++
	}
}

func (c *Counts) most() int { return cmp.Or(c.MaxBytes, defaultBytes) }

// at returns the counts of a day, and forgets days that are too many. It returns nil
// for days before those.
func (c *Counts) at(day Day) *counted {
	at, found := slices.BinarySearchFunc(c.days, day, func(d *counted, day Day) int { return cmp.Compare(d.day, day) })
	if found {
		return c.days[at]
	}
	d := &counted{day: day, domains: make(map[string]*domain)}
	c.days = slices.Insert(c.days, at, d)
	if more := len(c.days) - keptDays; more > 0 {
		c.days = slices.Delete(c.days, 0, more)
	}
	return d
}

// tally returns the counts of a domain's sessions under a policy, or nil if there is no
// room.
func (d *counted) tally(most int, name string, p *Policy) *tally {
	of := d.domains[name]
	if of == nil {
		cost := costOfDomain + len(name)
		if len(name) > mostHost || d.bytes+cost > most {
			return nil
		}
		d.bytes += cost
		of = &domain{}
		d.domains[name] = of
	}
	if p.size() <= mostText {
		for _, t := range of.policies {
			if t.policy.is(p, name) {
				return t
			}
		}
		// A quarter is left for domains.
		cost := costOfPolicy + p.size()
		if len(of.policies) < mostPolicies && d.bytes+cost <= most/4*3 {
			d.bytes += cost
			return of.add(Policy{
				Type: p.Type, Domain: cmp.Or(p.Domain, name), Strings: slices.Clone(p.Strings), MX: slices.Clone(p.MX),
			})
		}
	}
	bare := Policy{Type: p.Type, Domain: name}
	for _, t := range of.policies {
		if t.policy.is(&bare, name) {
			return t
		}
	}
	if d.bytes+costOfPolicy > most {
		return nil
	}
	d.bytes += costOfPolicy
	return of.add(bare)
}

func (d *domain) add(p Policy) *tally {
	t := &tally{policy: p}
	d.policies = append(d.policies, t)
	return t
}

// detail counts a failure n times.
func (d *counted) detail(most int, name string, t *tally, f *Failure, n uint64) {
	clean := f.clean()
	if _, known := t.details[clean]; !known {
		of := d.domains[name]
		cost := costOfDetail + len(clean.Reason) + len(clean.Info) + len(clean.Host) + len(clean.Helo)
		// Half is left for domains and policies.
		if clean.Reason == NoRoom || of.details == mostDetails || d.bytes+cost > most/2 {
			t.bare[f.Result] += n
			return
		}
		of.details++
		d.bytes += cost
	}
	if t.details == nil {
		t.details = make(map[Failure]uint64)
	}
	t.details[clean] += n
}

// NoRoom is the Reason of failures whose details did not fit.
const NoRoom = "details-left-out"

// Tally has the counts of one day for the sessions with the hosts of a domain under one
// policy.
type Tally struct {
	// Domain is the recipient domain.
	Domain string `json:"domain"`
	// Policy is the policy that was applied.
	Policy Policy `json:"policy"`
	// Successes and Failures are the numbers of sessions that satisfied the policy, and
	// that did not.
	Successes uint64 `json:"successes"`
	Failures  uint64 `json:"failures"`
	// Details are the failures. A session with several failures is counted in each of
	// them.
	Details []Detail `json:"details,omitempty"`
}

// Detail is the number of sessions with the same failure.
type Detail struct {
	Failure
	Sessions uint64 `json:"sessions"`
}

// ByDomain groups sorted tallies by their domain.
func ByDomain(tallies []Tally) iter.Seq2[string, []Tally] {
	return func(yield func(string, []Tally) bool) {
		for len(tallies) > 0 {
			domain, n := tallies[0].Domain, 1
			for n < len(tallies) && tallies[n].Domain == domain {
				n++
			}
			if !yield(domain, tallies[:n:n]) {
				return
			}
			tallies = tallies[n:]
		}
	}
}

// Tallies returns the counts of a day so far, sorted by domain and policy. They are
// only those of this Counts. Reporter.Tallies also has the counts from before a restart
// and from other processes.
func (c *Counts) Tallies(day Day) []Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, found := slices.BinarySearchFunc(c.days, day, func(d *counted, day Day) int { return cmp.Compare(d.day, day) })
	if !found {
		return nil
	}
	return c.days[at].tallies()
}

func (d *counted) tallies() []Tally {
	var all []Tally
	for name, of := range d.domains {
		for _, t := range of.policies {
			all = append(all, t.of(name))
		}
	}
	slices.SortFunc(all, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), a.Policy.compare(&b.Policy))
	})
	return all
}

// of is the Tally of a domain.
func (t *tally) of(name string) Tally {
	all := Tally{Domain: name, Policy: t.policy, Successes: t.successes, Failures: t.failures}
	for f, n := range t.details {
		all.Details = append(all.Details, Detail{f, n})
	}
	for r, n := range t.bare {
		if n > 0 {
			all.Details = append(all.Details, Detail{Failure{Result: Result(r), Reason: NoRoom}, n})
		}
	}
	slices.SortFunc(all.Details, func(a, b Detail) int { return a.compare(&b.Failure) })
	return all
}

// LeftOut returns how many sessions of a day are not in Tallies because there was no
// room.
func (c *Counts) LeftOut(day Day) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.days {
		if d.day == day {
			return d.leftOut
		}
	}
	return 0
}

// Merge adds the tallies of another Counts for a day.
func (c *Counts) Merge(day Day, tallies []Tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.at(day)
	d.changed = true
	for i := range tallies {
		from := &tallies[i]
		t := d.tally(c.most(), from.Domain, &from.Policy)
		if t == nil {
			d.leftOut += from.Successes + from.Failures
			continue
		}
		t.successes += from.Successes
		t.failures += from.Failures
		for j := range from.Details {
			if f := &from.Details[j]; f.Result != Success && f.Result < results {
				d.detail(c.most(), from.Domain, t, &f.Failure, f.Sessions)
			}
		}
	}
}

// counter is the name of this Counts in a Store.
func (c *Counts) counter() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.name == "" {
		c.name = strings.ToLower(rand.Text())
	}
	return c.name
}

// changes returns the tallies of each day that have changed since the last call.
func (c *Counts) changes() map[Day][]Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[Day][]Tally)
	for _, d := range c.days {
		if d.changed {
			d.changed = false
			all[d.day] = d.tallies()
		}
	}
	return all
}

// unsaved has the changes of a day given again.
func (c *Counts) unsaved(day Day) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.days {
		if d.day == day {
			d.changed = true
		}
	}
}
