package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/nexthop-mail/nexthop/mx"
)

// witness records the DNS questions and the connections of a sender.
type witness struct {
	who  string
	t    *teller
	mu   sync.Mutex
	mx   []string // the domains whose MX records were asked for
	dial []string // the addresses that were called
}

// resolver returns a Resolver of package mx that asks a DNS server, and prints the
// answers about MX records.
func (w *witness) resolver(server string) mx.Resolver {
	return &heard{&mx.Client{Servers: []mx.Server{{Addr: server}}}, w}
}

type heard struct {
	mx.Resolver
	by *witness
}

func (h *heard) Resolve(ctx context.Context, name string, t mx.Type) (mx.Answer, error) {
	answer, err := h.Resolver.Resolve(ctx, name, t)
	if t == mx.TypeMX {
		h.by.asked(name, &answer, err)
	}
	return answer, err
}

func (w *witness) asked(name string, a *mx.Answer, err error) {
	w.mu.Lock()
	w.mx = append(w.mx, strings.TrimSuffix(name, "."))
	w.mu.Unlock()
	if err != nil {
		w.t.say(w.who, "asks DNS for the MX records of %s: %v", name, err)
		return
	}
	records := slices.Clone(a.MX)
	slices.SortFunc(records, func(x, y mx.MX) int { return int(x.Preference) - int(y.Preference) })
	var list []string
	for _, r := range records {
		list = append(list, fmt.Sprintf("%d %s", r.Preference, r.Host))
	}
	w.t.say(w.who, "asks DNS for the MX records of %s: %s", strings.TrimSuffix(name, "."), strings.Join(list, ", "))
}

// connect is a Sender's Dial.
func (w *witness) connect(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dial = append(w.dial, address)
	w.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, network, address)
}

// testimony returns what was recorded since the last call, each item once, in order.
func (w *witness) testimony() (asked, dialled []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked, dialled = once(w.mx), once(w.dial)
	w.mx, w.dial = nil, nil
	return asked, dialled
}

func once(list []string) (distinct []string) {
	for _, s := range list {
		if !slices.Contains(distinct, s) {
			distinct = append(distinct, s)
		}
	}
	return distinct
}
