//go:build linux

package bench

import (
	"testing"
	"time"
)

// What is injected: octets a message, sessions at once, domains where there are many.
const (
	size     = 10 << 10
	sessions = 100
	domains  = 1000
)

// throughput is what came of many messages through a relay.
type throughput struct {
	perSecond   float64       // messages, from the first injected to the last arrived
	cpu         time.Duration // of the relay, a message; 0 where it was not asked for
	connections float64       // to the sink, a message
}

// measureThroughput has a relay take messages over many sessions and store and
// forward them, all for one domain, or for a thousand with the same host. metered
// counts its processor time too.
func measureThroughput(t *testing.T, c candidate, messages, domains int, metered bool) throughput {
	t.Helper()
	sink := startSink(t)
	relay := c.start(t, settings{})
	used := func() time.Duration { return 0 }
	if metered {
		account := relay.account(t)
		used = func() time.Duration { return account.used(t) }
	}
	before := used()
	began := time.Now()
	if domains == 1 {
		if _, err := smtpSource(t.Context(), relayAddr, sessions, messages, size, "user@"+oneDomain); err != nil {
			t.Fatal(err)
		}
	} else {
		_, err := inject(relayAddr, sessions, messages, size, func(n int) string { return "user@" + domain(n%domains) })
		if err != nil {
			t.Fatal(err)
		}
	}
	arrivals, err := sink.await(t.Context(), messages)
	if err != nil {
		t.Fatal(err)
	}
	cpu := used() - before
	relay.stop()
	return throughput{
		perSecond:   float64(messages) / arrivals[messages-1].Sub(began).Seconds(),
		cpu:         cpu / time.Duration(messages),
		connections: float64(sink.settled(t)) / float64(messages),
	}
}

// measureLone injects one message after the other, each once the last has
// arrived, and returns how long each took from the end of its injection.
func measureLone(t *testing.T, c candidate, messages int) []time.Duration {
	t.Helper()
	sink := startSink(t)
	c.start(t, settings{})
	s, err := dialSource(relayAddr, size)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	var took []time.Duration
	for n := range messages {
		taken, err := s.send("user@" + oneDomain)
		if err != nil {
			t.Fatal(err)
		}
		arrivals, err := sink.await(t.Context(), n+1)
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, arrivals[n].Sub(taken))
		<-pause.C
	}
	return took
}

// blackHole is what a preferred host costs that never answers.
type blackHole struct {
	tries   int           // connections tried to it
	opened  int           // connections to the host that answers
	waiting time.Duration // from the end of injection to arrival, the mean of all messages but the first
	first   time.Duration // the same of the first
}

// measureHole sends one message to a domain whose preferred host is a black hole,
// and once it has arrived at the other many, by several sessions at once.
func measureHole(t *testing.T, c candidate, messages int) blackHole {
	t.Helper()
	sink, hole := startSink(t), startHole(t)
	relay := c.start(t, settings{connectTimeout: time.Second, perSite: 20})
	to := func(int) string { return "user@" + holeDomain }
	first, err := inject(relayAddr, 1, 1, size, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.await(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	taken, err := inject(relayAddr, 20, messages, size, to)
	if err != nil {
		t.Fatal(err)
	}
	arrivals, err := sink.await(t.Context(), messages+1)
	if err != nil {
		t.Fatal(err)
	}
	result := blackHole{tries: hole.tried(), first: arrivals[0].Sub(first[0])}
	for n := range messages {
		result.waiting += arrivals[n+1].Sub(taken[n]) / time.Duration(messages)
	}
	relay.stop()
	result.opened = sink.settled(t)
	return result
}
