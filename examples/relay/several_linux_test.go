package main

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue/postgres/postgrestest"
)

// deaths is how often relays are killed, and the processes of the database.
func deaths() (relays, servers int) {
	if os.Getenv("NEXTHOP_LONG") != "" {
		return 100, 20
	}
	return 6, 2
}

// TestKillSeveral has three relays on one database, and kills now one of them and now the
// processes of the database, at any moment. What any of them answered 250 arrives. Twice
// arrives only what was on the way: of a relay that dies, what it was sending and what it
// was noting the end of, and of a server that dies, what it had noted in its last moments
// too.
func TestKillSeveral(t *testing.T) {
	t.Parallel()
	server := newDatabase(t)
	c := newCluster(t, server.URL(), 3)
	relays, servers := deaths()
	inFlight := 0
	for killed, died := 0, 0; killed < relays || died < servers; {
		c.progress(5)
		<-time.After(time.Duration(rand.IntN(300)) * time.Millisecond)
		if rand.IntN(relays-killed+servers-died) < servers-died {
			died++
			began := time.Now()
			server.Kill()
			if err := server.Restart(); err != nil {
				t.Fatal(err)
			}
			inFlight += c.within(began.Add(-2*time.Second), time.Now()) + 3*perRelay
			continue
		}
		killed++
		inFlight += 4 * perRelay
		i := rand.IntN(len(c.relays))
		c.kill(i)
		c.launch(i)
	}
	c.settle()
	c.stop()
	again := c.again()
	t.Logf("%d relays and %d servers were killed; %d messages answered 250, %d arrived twice", relays, servers, c.mail.count(), again)
	if again > inFlight {
		t.Errorf("%d messages arrived twice, want at most the %d that can have been on the way", again, inFlight)
	}
}

// TestComingAndGoing has relays stopped and started all the time. Nothing is lost, and
// nothing arrives twice.
func TestComingAndGoing(t *testing.T) {
	t.Parallel()
	rounds := 4
	if os.Getenv("NEXTHOP_LONG") != "" {
		rounds = 100
	}
	server := newDatabase(t)
	c := newCluster(t, server.URL(), 3)
	for i := range rounds {
		c.progress(10)
		c.replace(i % len(c.relays))
	}
	c.settle()
	c.stop()
	t.Logf("%d relays came and went; %d messages answered 250", rounds, c.mail.count())
	if again := c.again(); again > 0 {
		t.Errorf("%d messages arrived twice", again)
	}
}

// failover is three relays on a server whose place another one takes, that followed it.
type failover struct {
	*cluster
	primary, standby *postgrestest.Server
	took, inFlight   int // until then
}

func newFailover(t *testing.T, synchronous bool) *failover {
	t.Helper()
	primary := newDatabase(t)
	standby, err := primary.Standby(t.Context(), synchronous)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = standby.Close() })
	return &failover{cluster: newCluster(t, postgrestest.URL(primary, standby), 3), primary: primary, standby: standby}
}

// fail kills the server under load, and waits until the relays take mail again.
func (f *failover) fail() {
	f.t.Helper()
	before := time.Now()
	f.primary.Kill()
	if err := f.standby.Promote(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	f.inFlight = f.within(before.Add(-2*time.Second), time.Now()) + 3*perRelay
	f.took = f.mail.count()
	f.progress(50)
	for i := range f.clients {
		f.clients[i].end()
	}
}

// TestPromotionUnderRelays kills the server under three relays, and has another take its
// place that followed it. With a synchronous one all that was answered 250 arrives. With
// one that lagged, what it had not got is lost, and counted; the relays go on, and what
// they take then arrives.
func TestPromotionUnderRelays(t *testing.T) {
	t.Parallel()
	same, late := newFailover(t, true), newFailover(t, false)
	same.progress(50)
	late.progress(50)
	if err := late.standby.Detach(t.Context()); err != nil {
		t.Fatal(err)
	}
	late.progress(50)
	same.fail()
	late.fail()
	same.settle()
	late.empty()
	same.stop()
	late.stop()
	for name, f := range map[string]*failover{"a synchronous standby": same, "a standby that lags": late} {
		lost, again := len(f.missing()), f.again()
		t.Logf("%s: %d messages answered 250, %d of them before; %d lost, %d arrived twice", name, f.mail.count(), f.took, lost, again)
		if f == same && (lost > 0 || again > f.inFlight) {
			t.Errorf("%d are lost, and %d arrived twice, want at most the %d that can have been on the way", lost, again, f.inFlight)
		}
		if f == late && lost > f.took {
			t.Errorf("%d are lost, want none of those that were taken afterwards", lost)
		}
	}
}
