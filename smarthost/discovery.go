package smarthost

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
	"github.com/nexthop-mail/nexthop/mx"
)

// discovery keeps what SRV records led to. RFC 6186 section 4: they are not asked
// for at each connection, but kept until a host cannot be reached.
type discovery struct {
	mu      sync.Mutex
	domains map[string]*discovered
}

// discovered is what is known about one domain.
type discovered struct {
	turn chan struct{} // held by who asks

	mu     sync.Mutex
	kept   *choice // nil before the first answer
	stale  bool    // a host of it could not be reached
	failed error   // why the last question had no answer, nil where it had
	at     time.Time
}

// patience is how long a choice that should be asked for again is used after a
// question without an answer.
const patience = 10 * time.Second

// choice is what SRV records led to, in the order drawn. It does not change.
type choice struct {
	service string
	targets []mx.SRV
	secure  bool
	ttl     time.Duration
	until   time.Time // when it must be asked for again; zero is not before a failure
}

// choice is the kept choice of a domain, or a new one. Those who wait for an answer
// share it, and the lack of one.
func (t *Table) choice(ctx context.Context, router *mx.Router, domain string) (*choice, error) {
	d := t.found.domain(domain)
	began := time.Now()
	if c := d.current(began); c != nil {
		return c, nil
	}
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return nil, failure(mx.DNSTrouble, domain, "", context.Cause(ctx))
	}
	if c := d.current(time.Now()); c != nil {
		return c, nil
	}
	if err := d.failure(began); err != nil {
		return nil, err
	}
	c, err := discover(ctx, router, domain)
	if err != nil {
		if ctx.Err() != nil { // this says nothing about DNS
			return nil, err
		}
		return d.fail(err)
	}
	if c.secure {
		c.until = time.Now().Add(c.ttl)
	}
	before := d.keep(c)
	if now := c.places(); t.Discovered != nil && !slices.Equal(before, now) {
		t.Discovered(domain, before, now)
	}
	return c, nil
}

// domain is the entry of a domain.
func (f *discovery) domain(name string) *discovered {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.domains[name]
	if d == nil {
		if f.domains == nil {
			f.domains = make(map[string]*discovered)
		}
		d = &discovered{turn: make(chan struct{}, 1)}
		f.domains[name] = d
	}
	return d
}

// current is the kept choice while it is good, or while it has to do.
func (d *discovered) current(now time.Time) *choice {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept == nil {
		return nil
	}
	expired := !d.kept.until.IsZero() && age.Past(d.kept.until, now)
	if (d.stale || expired) && (d.failed == nil || age.Between(d.at, now) >= patience) {
		return nil
	}
	return d.kept
}

// failure is why a question asked since had no answer.
func (d *discovered) failure(since time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed == nil || d.at.Before(since) {
		return nil
	}
	return d.failed
}

// fail records that there is no new choice. If DNS gave no answer, unlike a negative
// answer, the last choice is still used.
func (d *discovered) fail(err error) (*choice, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e, ok := errors.AsType[*mx.Error](err); ok && e.Kind == mx.Misconfigured {
		d.kept = nil
	}
	d.failed, d.at = err, time.Now()
	if d.kept != nil {
		return d.kept, nil
	}
	return nil, err
}

// keep puts a choice in place of the one before, whose places it returns.
func (d *discovered) keep(c *choice) (before []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept != nil {
		before = d.kept.places()
	}
	d.kept, d.stale, d.failed = c, false, nil
	return before
}

// places are the targets as host:port, sorted.
func (c *choice) places() []string {
	var list []string
	for _, t := range c.targets {
		list = append(list, net.JoinHostPort(t.Target, strconv.Itoa(int(t.Port))))
	}
	slices.Sort(list)
	return list
}

// Unreachable tells the Table that a session with a host of one of its routes failed. If
// SRV records led there, they are looked up again for the next message. A delivery.Sender
// calls it.
func (t *Table) Unreachable(host *mx.Host) {
	t.found.mu.Lock()
	defer t.found.mu.Unlock()
	for _, d := range t.found.domains {
		d.doubt(host)
	}
}

// doubt marks the choice as stale if the host is of it.
func (d *discovered) doubt(host *mx.Host) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept != nil && slices.ContainsFunc(d.kept.targets, func(t mx.SRV) bool {
		return t.Target == host.Name && t.Port == host.Port
	}) {
		d.stale = true
	}
}
