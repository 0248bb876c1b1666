package delivery

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
)

// trouble has the current errors of calls of the queue, by their purpose. The zero
// value is ready to use.
type trouble struct {
	mu   sync.Mutex
	errs [troubles]error
}

// The calls of a queue, so that success of one kind does not hide the failure of
// another.
const (
	claiming = iota
	settling
	extending
	marking
	opening
	postponing
	ours // no call of the queue: DNS, the network, the machine
	troubles
)

// failed notes an error and reports whether it is news.
func (t *trouble) failed(what int, err error) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	news = t.errs[what] == nil
	t.errs[what] = err
	return news
}

// works notes that a call has worked.
func (t *trouble) works(what int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errs[what] = nil
}

// last returns one of the errors, or nil if there is none.
func (t *trouble) last() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, err := range t.errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Causes of trouble on our side.
var (
	errNoDNS     = errors.New("no DNS server answers")
	errNoNetwork = errors.New("no route to any network")
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

// DNSProber is a Router that can tell whether DNS works at all. If an Agent's Router
// implements it and DNS does not work, the Agent treats the failure as its own trouble
// and not the domain's: no attempt is charged.
type DNSProber interface {
	// Probe returns nil if DNS works, as mx.Probe does. It may be called concurrently.
	Probe(ctx context.Context) error
}

// dnsProbe is the last result of probing DNS.
type dnsProbe struct {
	mu    sync.Mutex
	under chan struct{} // way; closed when it is known
	at    time.Time
	works bool
}

// probeAge is for how long it is known whether DNS works.
const probeAge = time.Second

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

// families is what is known about the network by address family: when it last carried
// data, and whether it has had no route since.
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
// missing family is no trouble if the other works. If nothing is known about IPv6, it
// is assumed to have no route; most machines without IPv4 do use IPv6.
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
