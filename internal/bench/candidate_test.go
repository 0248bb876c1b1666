//go:build linux

package bench

import (
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/internal/peers"
)

// settings are what a measure asks of a relay beyond the usual.
type settings struct {
	connectTimeout time.Duration // 0 is the relay's own
	perSite        int           // connections to one site at most; 0 is 100
	retry          time.Duration // between attempts; 0 is the relay's own
	feedback       bool          // begin with as many connections as the relay does by default
	tls            bool          // use STARTTLS, where the relay does not by default
	reuse          bool          // and keep connections with TLS, where it does not by default
	program        string        // of another version of nexthop's relay; empty is the one built here
	flags          []string      // more of them for nexthop's relay
}

func (s settings) sites() int {
	if s.perSite == 0 {
		return 100
	}
	return s.perSite
}

// running is a relay under test that accepts mail at relayAddr.
type running struct {
	pids func() ([]int, error)
	stop func() // ends it, and so its connections
}

// account opens an account of its processes, which are to end before it can.
func (r *running) account(t *testing.T) *account {
	t.Helper()
	pids, err := r.pids()
	if err != nil {
		t.Fatal(err)
	}
	a := openAccount(t, pids...)
	t.Cleanup(r.stop)
	return a
}

// candidate is a relay under test.
type candidate struct {
	name     string
	messages int // how many make a round of some ten seconds
	start    func(t *testing.T, s settings) *running
}

// The names of the candidates.
const (
	nexthop = "nexthop"
	postfix = "Postfix"
	exim    = "Exim"
	reusing = "Postfix reusing TLS"
)

func candidates() []candidate {
	return []candidate{
		{nexthop, 20_000, startRelay},
		{postfix, 2_500, startPostfix},
		{exim, 800, startExim},
	}
}

// startServer starts a peer as a candidate.
func startServer(t *testing.T, s *peers.Server) *running {
	t.Helper()
	s.Start(t)
	return &running{s.PIDs, s.Stop}
}
