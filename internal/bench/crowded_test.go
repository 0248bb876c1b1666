//go:build linux

package bench

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// receiver is a host with a limit that nobody is told of: of connections, above which
// it greets 421, or of messages a second, above which it defers recipients.
type receiver struct {
	connections int           // 0 is any number
	perSecond   float64       // 0 is any number
	takes       time.Duration // for each message

	listener net.Listener
	done     sync.WaitGroup

	mu      sync.Mutex
	open    int
	most    int
	taken   int
	refused int // greetings and recipients
	tokens  float64
	at      time.Time
}

// startReceiver has it listen until the test ends.
func startReceiver(t *testing.T, addr string, r *receiver) {
	t.Helper()
	var err error
	if r.listener, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.done.Go(func() {
		for {
			conn, err := r.listener.Accept()
			if err != nil {
				return
			}
			r.done.Go(func() {
				stop := context.AfterFunc(ctx, func() { conn.Close() })
				defer stop()
				defer conn.Close()
				r.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		r.listener.Close()
		r.done.Wait()
	})
}

// enter reports whether there is room for a connection.
func (r *receiver) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.connections > 0 && r.open >= r.connections {
		r.refused++
		return false
	}
	r.open++
	r.most = max(r.most, r.open)
	return true
}

func (r *receiver) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
}

// allow reports whether a recipient is within the rate.
func (r *receiver) allow() bool {
	if r.perSecond == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.tokens = min(r.tokens+now.Sub(r.at).Seconds()*r.perSecond, r.perSecond/4)
	r.at = now
	if r.tokens < 1 {
		r.refused++
		return false
	}
	r.tokens--
	return true
}

func (r *receiver) serve(conn net.Conn) {
	say := func(line string) { fmt.Fprintf(conn, "%s\r\n", line) }
	if !r.enter() {
		say("421 4.7.0 too many connections from your host")
		return
	}
	defer r.leave()
	say("220 receiver.bench.test ESMTP")
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " "); verb {
		case "EHLO":
			say("250 receiver.bench.test")
		case "RCPT":
			if r.allow() {
				say("250 2.1.5 ok")
			} else {
				say("450 4.7.1 you are sending too fast")
			}
		case "DATA":
			say("354 go on")
			for line != ".\r\n" {
				if line, err = lines.ReadString('\n'); err != nil {
					return
				}
			}
			<-time.After(r.takes)
			r.mu.Lock()
			r.taken++
			r.mu.Unlock()
			say("250 2.0.0 taken")
		case "QUIT":
			say("221 2.0.0 bye")
			return
		default:
			say("250 2.0.0 ok")
		}
	}
}

// crowded is what came of many messages to a host with a hidden limit.
type crowded struct {
	deferred float64 // attempts of all
	took     time.Duration
}

// measureCrowded sends messages to a receiver until all have arrived.
func measureCrowded(t *testing.T, c candidate, r *receiver, messages int) crowded {
	t.Helper()
	startReceiver(t, farAddr, r)
	relay := c.start(t, settings{perSite: 20, retry: 10 * time.Second, feedback: true})
	began := time.Now()
	if _, err := smtpSource(t.Context(), relayAddr, 20, messages, 1<<10, "user@"+farDomain); err != nil {
		t.Fatal(err)
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for taken, since := 0, time.Now(); ; <-look.C {
		r.mu.Lock()
		now := r.taken
		r.mu.Unlock()
		if now >= messages {
			break
		}
		if now > taken {
			taken, since = now, time.Now()
		}
		if time.Since(since) > patience {
			t.Fatalf("%d of %d messages have arrived, and no more for %v", now, messages, patience)
		}
	}
	took := time.Since(began)
	relay.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	t.Logf("%s: %d messages in %v, %d attempts refused, %d connections at most", c.name, r.taken, took.Round(time.Millisecond), r.refused, r.most)
	return crowded{float64(r.refused) / float64(r.refused+r.taken), took}
}

// receivers are those of the comparison.
func receivers() map[string]*receiver {
	return map[string]*receiver{
		"421 above 4 connections":  {connections: 4, takes: 20 * time.Millisecond},
		"450 above 100 messages/s": {perSecond: 100, takes: 5 * time.Millisecond},
		"421 above 1 connection":   {connections: 1, takes: 5 * time.Millisecond},
	}
}

func compareCrowded(t *testing.T, to *table, c candidate) {
	if c.name == exim {
		return // it knows no feedback
	}
	for name, r := range receivers() {
		t.Run(name, func(t *testing.T) {
			got := measureCrowded(t, c, r, 5000)
			third := gate{over: postfix, bound: 1.0 / 3}
			to.add(name, "attempts deferred/all", c.name, got.deferred, third)
			to.add(name, "s until all arrived", c.name, got.took.Seconds(), gate{over: postfix, bound: 1})
		})
	}
}
