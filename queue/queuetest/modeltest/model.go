package modeltest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// model is what a queue must hold, in the plainest form: lists that are gone
// through from beginning to end.
type model struct {
	now       time.Time
	messages  []*message // in the order of their ids
	postponed map[string]time.Time
	parked    map[string]map[string]time.Time // by owner and destination
	suspended []queue.Suspension              // by kind and name
	ended     []queue.FinalOutcome            // in the order in which they were settled
}

type message struct {
	queue.Message
	content    string
	held       bool
	until      time.Time   // when the hold ends by itself; zero is not
	deliveries []*delivery // that have pending recipients, in any order
}

type delivery struct {
	message     *message
	destination string
	states      []queue.State // pending, by Index
	due         time.Time
	notBefore   time.Time
	warned      bool

	claimed bool        // and not settled since
	marked  bool        // and not settled since
	lease   queue.Lease // the last one given
}

// put puts a message that got an id.
func (m *model) put(id string, put queue.Message, content string) {
	e := &message{Message: put, content: content}
	e.ID, e.Content = id, nil
	if e.Arrived.IsZero() {
		e.Arrived = m.now
	}
	for i, r := range put.Recipients {
		_, domain, _ := strings.Cut(strings.ToLower(r.Address), "@")
		at := slices.IndexFunc(e.deliveries, func(d *delivery) bool { return d.destination == domain })
		if at < 0 {
			at = len(e.deliveries)
			d := &delivery{message: e, destination: domain}
			d.schedule(m.now, put.NotBefore)
			e.deliveries = append(e.deliveries, d)
		}
		e.deliveries[at].states = append(e.deliveries[at].states, queue.State{Index: i})
	}
	m.messages = append(m.messages, e)
}

func (d *delivery) schedule(now, notBefore time.Time) {
	d.due, d.notBefore = notBefore, notBefore
	if notBefore.IsZero() {
		d.due = now
	}
}

// known is the message with a tenant and a key.
func (m *model) known(tenant, key string) *message {
	for _, e := range m.messages {
		if key != "" && e.Tenant == tenant && e.Key == key {
			return e
		}
	}
	return nil
}

// all is every delivery.
func (m *model) all() []*delivery {
	var all []*delivery
	for _, e := range m.messages {
		all = append(all, e.deliveries...)
	}
	return all
}

// from is when a delivery may be claimed by an owner: its own time, its
// destination's, the owner's for that and the end of its lease. Zero is at once.
func (m *model) from(d *delivery, owner string) time.Time {
	from := d.notBefore
	for _, t := range []time.Time{m.postponed[d.destination], m.parked[owner][d.destination], d.leaseEnd()} {
		if t.After(from) {
			from = t
		}
	}
	return from
}

func (d *delivery) leaseEnd() time.Time {
	if d.claimed {
		return d.lease.Until
	}
	return time.Time{}
}

// claim returns what a claim must return, whether a bound left something out,
// and when something that waits is due; zero is never.
func (m *model) claim(want queue.ClaimOptions) (taken []*delivery, more bool, next time.Time) {
	want = want.WithDefaults()
	for _, list := range m.parked {
		maps.DeleteFunc(list, func(_ string, until time.Time) bool { return !until.After(m.now) })
	}
	m.endHolds()
	for _, e := range m.messages {
		if e.held && !e.until.IsZero() && (next.IsZero() || e.until.Before(next)) {
			next = e.until
		}
	}
	var due []*delivery
	for _, d := range m.all() {
		named := len(want.Destinations) == 0 || slices.Contains(want.Destinations, d.destination)
		if !named || slices.Contains(want.Except, d.destination) || d.message.held ||
			slices.Contains(want.ExceptTenants, d.message.Tenant) {
			continue
		}
		if from := m.from(d, want.Owner); !from.After(m.now) {
			due = append(due, d)
		} else if next.IsZero() || from.Before(next) {
			next = from
		}
	}
	slices.SortFunc(due, inOrder)
	perDestination, perTenant := make(map[string]int), make(map[string]int)
	for _, d := range due {
		full := len(taken) == want.Max ||
			want.PerDestination > 0 && perDestination[d.destination] == want.PerDestination ||
			want.PerTenant > 0 && perTenant[d.message.Tenant] == want.PerTenant
		if full {
			more = true
			continue
		}
		perDestination[d.destination]++
		perTenant[d.message.Tenant]++
		taken = append(taken, d)
	}
	return taken, more, next
}

// rank is since when a delivery counts as due.
func (d *delivery) rank() time.Time {
	return d.due.Add(-time.Duration(d.message.Priority) * queue.PriorityStep)
}

func inOrder(a, b *delivery) int {
	return cmp.Or(
		a.rank().Compare(b.rank()),
		cmp.Compare(a.message.ID, b.message.ID),
		cmp.Compare(a.destination, b.destination),
	)
}

// hand hands a delivery out with the lease the queue gave.
func (d *delivery) hand(l queue.Lease) {
	d.claimed, d.lease = true, l
}

// holds is the delivery of a lease that is not lost.
func (m *model) holds(l queue.Lease) *delivery {
	for _, d := range m.all() {
		if d.claimed && d.lease.Message == l.Message && d.lease.Destination == l.Destination && d.lease.Token == l.Token {
			return d
		}
	}
	return nil
}

// sensible is whether every result is about a pending recipient of its own.
func (d *delivery) sensible(results []queue.Result) bool {
	seen := make(map[int]bool)
	for _, r := range results {
		pending := slices.ContainsFunc(d.states, func(s queue.State) bool { return s.Index == r.Recipient })
		if !pending || seen[r.Recipient] {
			return false
		}
		seen[r.Recipient] = true
	}
	return true
}

// settle settles a delivery.
func (m *model) settle(d *delivery, s queue.Settlement) {
	d.claimed, d.marked = false, false
	d.warned = d.warned || s.Warned
	d.schedule(m.now, s.NotBefore)
	for _, r := range s.Results {
		state := &d.states[slices.IndexFunc(d.states, func(s queue.State) bool { return s.Index == r.Recipient })]
		state.Attempts++
		state.Outcome, state.Reply, state.Tried = r.Outcome, r.Reply, m.now
	}
	d.states = slices.DeleteFunc(d.states, func(s queue.State) bool {
		ends := s.Outcome == queue.Delivered || s.Outcome == queue.Failed
		if ends {
			m.ended = append(m.ended, queue.FinalOutcome{
				Message: d.message.ID, Tenant: d.message.Tenant, Key: d.message.Key, Recipient: s.Index,
				Address: d.message.Recipients[s.Index].Address, Outcome: s.Outcome, Reply: s.Reply, Attempts: s.Attempts, Time: s.Tried,
			})
		}
		return ends
	})
	if len(d.states) > 0 {
		return
	}
	e := d.message
	e.deliveries = slices.DeleteFunc(e.deliveries, func(o *delivery) bool { return o == d })
	if len(e.deliveries) == 0 {
		m.drop(e)
	}
}

// drop takes a message out.
func (m *model) drop(e *message) {
	m.messages = slices.DeleteFunc(m.messages, func(o *message) bool { return o == e })
}

// endHolds ends the holds whose time has come, as claims and flushes do.
func (m *model) endHolds() {
	for _, e := range m.messages {
		if e.held && !e.until.IsZero() && !e.until.After(m.now) {
			e.held, e.until = false, time.Time{}
		}
	}
}

// flush makes deliveries due at once and says how many that was.
func (m *model) flush(list []queue.Selection) int {
	m.endHolds()
	names := func(what queue.Selection, d *delivery) bool {
		return (what.Message == "" || d.message.ID == what.Message) && (what.Destination == "" || d.destination == what.Destination)
	}
	n := 0
	for _, d := range m.all() {
		if !slices.ContainsFunc(list, func(what queue.Selection) bool { return names(what, d) }) {
			continue
		}
		delete(m.postponed, d.destination)
		if d.leaseEnd().After(m.now) || d.message.held {
			continue
		}
		if n++; d.notBefore.After(m.now) {
			d.schedule(m.now, time.Time{})
		}
	}
	for _, what := range list {
		if what.Message == "" { // destinations nothing waits for too
			maps.DeleteFunc(m.postponed, func(name string, _ time.Time) bool {
				return what.Destination == "" || name == what.Destination
			})
		}
	}
	return n
}

// waiting is where the recipients of a message stand.
func (m *model) waiting(e *message) []queue.Waiting {
	var all []queue.Waiting
	for _, d := range e.deliveries {
		next, postponed := d.notBefore, m.postponed[d.destination]
		if postponed.After(next) {
			next = postponed
		}
		for _, s := range d.states {
			all = append(all, queue.Waiting{State: s, Destination: d.destination, Next: next, Postponed: postponed, Leased: d.claimed})
		}
	}
	slices.SortFunc(all, func(a, b queue.Waiting) int { return a.Index - b.Index })
	return all
}

// survey counts by destination.
func (m *model) survey() []queue.Destination {
	var all []queue.Destination
	for _, d := range m.all() { // by id
		at := slices.IndexFunc(all, func(o queue.Destination) bool { return o.Name == d.destination })
		if at < 0 {
			at = len(all)
			all = append(all, queue.Destination{
				Name: d.destination, Oldest: d.message.Arrived, Postponed: m.postponed[d.destination],
			})
		}
		to := &all[at]
		to.Deliveries++
		to.Bytes += int64(len(d.message.content))
		if d.message.held {
			to.Held++
		}
		if d.claimed {
			to.Leased++
		}
	}
	slices.SortFunc(all, func(a, b queue.Destination) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// total counts everything.
func (m *model) total() queue.Totals {
	t := queue.Totals{Messages: len(m.messages), Deliveries: len(m.all())}
	for _, e := range m.messages {
		t.Bytes += int64(len(e.content))
	}
	return t
}

// take is the deliveries of a message that nobody has leased, with destinations only
// those, and how many somebody has.
func (m *model) take(e *message, only []string) (taken []*delivery, leased int) {
	for _, d := range e.deliveries {
		switch {
		case len(only) > 0 && !slices.Contains(only, d.destination):
		case d.leaseEnd().After(m.now):
			leased++
		default:
			taken = append(taken, d)
		}
	}
	slices.SortFunc(taken, func(a, b *delivery) int { return cmp.Compare(a.destination, b.destination) })
	return taken, leased
}

// suspend adds suspensions, each in place of one of the same subject.
func (m *model) suspend(list []queue.Suspension) {
	m.endSuspensions()
	for _, one := range list {
		m.suspended = slices.DeleteFunc(m.suspended, func(o queue.Suspension) bool { return o.Subject == one.Subject })
		one.Since = m.now
		one.Reason = one.Reason[:min(len(one.Reason), queue.MaxReason)]
		m.suspended = append(m.suspended, one)
	}
	slices.SortFunc(m.suspended, func(a, b queue.Suspension) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	m.endSuspensions()
}

// resume ends suspensions and says how many there were.
func (m *model) resume(list []queue.Subject) int {
	m.endSuspensions()
	before := len(m.suspended)
	m.suspended = slices.DeleteFunc(m.suspended, func(o queue.Suspension) bool { return slices.Contains(list, o.Subject) })
	return before - len(m.suspended)
}

// endSuspensions ends those whose time has come.
func (m *model) endSuspensions() {
	m.suspended = slices.DeleteFunc(m.suspended, func(o queue.Suspension) bool {
		return !o.Until.IsZero() && !o.Until.After(m.now)
	})
}
