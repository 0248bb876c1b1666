package delivery

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/mx"
)

// Our own trouble, as it is told.
var (
	errNoDNS     = errors.New("no DNS server answers")
	errNoNetwork = errors.New("there is no route to anywhere")
	errNoSockets = errors.New("the system has no descriptors, ports or memory for a connection")
)

func errorOf(c sched.Cause) error {
	switch c {
	case sched.DNSFails:
		return errNoDNS
	case sched.NetworkFails:
		return errNoNetwork
	default:
		return errNoSockets
	}
}

// DNSProber is a Router that can tell whether DNS works at all. Where an Agent's Router
// is one, and DNS does not work, that is taken for trouble of its own and not for the
// domain's: no attempt is charged.
type DNSProber interface {
	// Probe returns nil if DNS works, as mx.Probe does. It may be called concurrently.
	Probe(ctx context.Context) error
}

// dnsProbe is what was last found out about DNS.
type dnsProbe struct {
	mu    sync.Mutex
	under chan struct{} // way; closed when it is known
	at    time.Time
	works bool
}

// probeAge is for how long it is known whether DNS works.
const probeAge = time.Second

// dnsTrouble is whether a route could not be found because DNS does not work at all.
func (r *run) dnsTrouble(err error) sched.Cause {
	re, ok := errors.AsType[*mx.ResolveError](err)
	if !ok || !re.NoServer() && re.Kind != mx.ServFail {
		return sched.NoTrouble
	}
	prober, ok := r.sender.router.(DNSProber)
	if !ok || r.dns.ask(func() (works bool) {
		works = true
		r.agent.guard(func() {
			re, failed := errors.AsType[*mx.ResolveError](prober.Probe(r.work))
			works = !failed || re.Kind == mx.Canceled
		})
		return works
	}) {
		return sched.NoTrouble
	}
	return sched.DNSFails
}

// ask finds out whether DNS works: once for all who want to know.
func (p *dnsProbe) ask(probe func() bool) (works bool) {
	p.mu.Lock()
	if time.Since(p.at) < probeAge {
		defer p.mu.Unlock()
		return p.works
	}
	if under := p.under; under != nil {
		p.mu.Unlock()
		<-under
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.works
	}
	p.under = make(chan struct{})
	p.mu.Unlock()
	works = probe()
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.under)
	p.under, p.at, p.works = nil, time.Now(), works
	return works
}

// families is what is known of the network by address family: when it last carried
// anything, and whether it had no route since.
type families struct {
	mu      sync.Mutex
	carried [2]time.Time
	without [2]bool
}

// carriedFor is how long a family that has carried something is taken to have a route.
const carriedFor = time.Minute

func familyOf(a netip.Addr) int {
	if a.Unmap().Is4() {
		return 0
	}
	return 1
}

// anywhere reports whether there is a route for either family, as far as is known. A
// family without is no trouble if the other has one; an IPv6 that nothing is known of
// is taken to have none, for most machines without IPv4 know IPv6.
func (f *families) anywhere() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.without[0] || !f.without[1] && time.Since(f.carried[1]) < carriedFor
}

func (f *families) note(a netip.Addr, noRoute bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := familyOf(a)
	if f.without[i] = noRoute; !noRoute {
		f.carried[i] = time.Now()
	}
}

// ownTrouble is whether no host could be asked because this machine has no network,
// or nothing to make a connection with: if that is so of every connection that was
// tried.
func (r *run) ownTrouble(report *Report) sched.Cause {
	cause, other := sched.NoTrouble, false
	for i := range report.Recipients {
		for j := range report.Recipients[i].Attempts {
			switch a := &report.Recipients[i].Attempts[j]; causeOf(a) {
			case sched.MachineFails:
				cause = sched.MachineFails
			case sched.NetworkFails:
				r.network.note(a.Addr.Addr(), true)
				cause = max(cause, sched.NetworkFails)
			default:
				if a.Addr.IsValid() && a.Err != nil && !a.Err.Remembered {
					r.network.note(a.Addr.Addr(), false)
				}
				other = true
			}
		}
	}
	if other || cause == sched.NetworkFails && r.network.anywhere() {
		return sched.NoTrouble
	}
	return cause
}

// causeOf is what of ours kept an address from being asked.
func causeOf(a *Attempt) sched.Cause {
	if a.Err == nil || a.Err.Replied() || a.Err.Stage != StageConnect {
		return sched.NoTrouble
	}
	for _, e := range []error{syscall.ENETUNREACH, syscall.ENETDOWN} {
		if errors.Is(a.Err.Err, e) {
			return sched.NetworkFails
		}
	}
	for _, e := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EADDRINUSE,
	} {
		if errors.Is(a.Err.Err, e) {
			return sched.MachineFails
		}
	}
	return sched.NoTrouble
}
