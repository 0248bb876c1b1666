package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// sharers are relays on one database that have the connections to a site in common, and
// plenty of mail for it.
type sharers struct {
	*world
	host   *smtptest.Host
	queue  string // a URL
	file   string
	relays []*process
}

// newSharers starts them. Each has sent something when it returns.
func newSharers(t *testing.T, relays, connections, messages int) *sharers {
	t.Helper()
	server := newDatabase(t)
	s := &sharers{
		world: newWorld(t, zone), host: modern("mail.example.com"), queue: server.URL(), file: filepath.Join(t.TempDir(), "limits.json"),
	}
	s.host.Script = []smtptest.Cue{{At: smtptest.Content, Delay: 300 * time.Millisecond}}
	s.start("127.0.0.2", s.host)
	s.limit(connections)
	for i := range relays {
		s.relays = append(s.relays, s.relay("-queue", s.queue, "-limits", s.file, "-lease", "30s", "-helo", name(i), "-no-dane", "-no-mta-sts"))
	}
	client := s.relays[0].client("127.0.0.1")
	for i := range messages {
		if _, err := submit(t, client, fmt.Sprint(i), fmt.Sprintf("u%d@example.com", i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range relays {
		eventually(t, fmt.Sprintf("relay %d has sent something", i), func() bool { return s.sent(i, time.Time{}) })
	}
	return s
}

func name(i int) string { return fmt.Sprintf("relay%d.example.net", i) }

func (s *sharers) limit(connections int) {
	s.t.Helper()
	replace(s.t, s.file, fmt.Sprintf(`{"rules": [{"match": {"domain": "example.com"}, "connections": %d, "shared": true}]}`, connections))
	for _, r := range s.relays {
		if r.ProcessState == nil {
			_ = r.Process.Signal(syscall.SIGHUP)
		}
	}
}

// sent reports whether a relay has begun a message after a time.
func (s *sharers) sent(i int, after time.Time) bool {
	return slices.ContainsFunc(s.transactions(), func(x transaction) bool { return x.relay == name(i) && x.began.After(after) })
}

// transaction is one message on its way, from MAIL to the reply to the content or the end
// of the connection. It is zero until then.
type transaction struct {
	relay        string
	to           string
	began, ended time.Time
}

func (s *sharers) transactions() (list []transaction) {
	for _, c := range s.host.Connections() {
		relay := ""
		var now *transaction
		over := func(at time.Time) {
			if now != nil {
				now.ended = at
				list, now = append(list, *now), nil
			}
		}
		for _, l := range c.Lines {
			switch {
			case l.Client && strings.HasPrefix(l.Text, "EHLO "):
				relay = l.Text[len("EHLO "):]
			case l.Client && strings.HasPrefix(l.Text, "MAIL "):
				over(l.At)
				now = &transaction{relay: relay, began: l.At}
			case l.Client && now != nil && strings.HasPrefix(l.Text, "RCPT TO:<"):
				now.to, _, _ = strings.Cut(l.Text[len("RCPT TO:<"):], ">")
			case !l.Client && now != nil && strings.HasPrefix(l.Text, "250 ") && strings.Contains(l.Text, "2.0.0"):
				over(l.At)
			case l.Client && (l.Text == "RSET" || l.Text == "QUIT"):
				over(l.At)
			}
		}
		if !c.Closed.IsZero() {
			over(c.Closed)
		}
		if now != nil {
			list = append(list, *now)
		}
	}
	return list
}

// together is how many transactions there were at once at most, of those that some began.
func (s *sharers) together(from, to time.Time, counts func(transaction) bool) (most int) {
	all := s.transactions()
	for _, x := range all {
		if !counts(x) || x.began.Before(from) || x.began.After(to) {
			continue
		}
		n := 0
		for _, y := range all {
			if counts(y) && !y.began.After(x.began) && (y.ended.IsZero() || y.ended.After(x.began)) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func everybody(transaction) bool { return true }

// twice is the recipients of the messages that arrived more than once.
func (s *sharers) twice() (list []string) {
	seen := make(map[string]bool)
	for _, m := range s.host.Messages() {
		to := m.Recipients[0].Address
		if seen[to] {
			list = append(list, to)
		}
		seen[to] = true
	}
	return list
}

// once checks that only those messages arrived twice that may.
func (s *sharers) once(but map[string]bool) {
	s.t.Helper()
	for _, to := range s.twice() {
		if !but[to] {
			s.t.Errorf("the message for %s arrived twice, and was not on the way when the relay was stopped", to)
		}
	}
}

// begun is the recipients of what a relay had begun, and of whose end the queue does not
// know. It is asked for a relay that has been stopped or killed.
func (s *sharers) begun(i int) map[string]bool {
	s.t.Helper()
	queued, errs, code := queueCommand(s.queue, "list")
	if code != 0 {
		s.t.Fatalf("exit code %d: %s", code, errs)
	}
	pending := strings.Fields(queued)
	list := make(map[string]bool)
	for _, x := range s.transactions() {
		if x.relay == name(i) && slices.Contains(pending, x.to) {
			list[x.to] = true
		}
	}
	return list
}

// TestShareOfARelayThatStops has three relays share a limit. One of them is stopped for
// longer than its leases last, and goes on then: the others have its share meanwhile, it
// begins nothing before it has one again, and only that arrives twice which it had begun,
// and of whose end the queue does not know.
func TestShareOfARelayThatStops(t *testing.T) {
	t.Parallel()
	const connections = 6
	s := newSharers(t, 3, connections, 2400)
	if err := s.relays[1].Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	others := func(x transaction) bool { return x.relay != name(1) }
	begun := s.begun(1)
	eventually(t, "the others have all of the limit", func() bool {
		<-time.After(500 * time.Millisecond)
		return s.together(stopped, time.Now(), others) == connections
	})
	took := time.Since(stopped)
	<-time.After(time.Until(stopped.Add(33 * time.Second))) // its leases have ended
	goesOn := time.Now()
	if err := s.relays[1].Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it sends again", func() bool { return s.sent(1, goesOn) })
	t.Logf("the others had its share after %v, and it had one again %v after it went on; %d messages were on the way", took, time.Since(goesOn), len(begun))
	<-time.After(2 * time.Second)
	if took < 20*time.Second {
		t.Errorf("the others had the share of a relay that might be sending after %v", took)
	}
	later := func(x transaction) bool { return others(x) || x.began.After(stopped) }
	if most := s.together(stopped, time.Now(), later); most > connections {
		t.Errorf("%d messages on the way at once, want at most %d", most, connections)
	}
	s.once(begun)
}

// TestShareOfARelayThatIsKilled has three relays share a limit, which is lowered while
// shares move: one of the relays has been killed, and one comes back.
func TestShareOfARelayThatIsKilled(t *testing.T) {
	t.Parallel()
	const connections, lowered = 6, 2
	s := newSharers(t, 3, connections, 2400)
	s.relays[1].kill()
	killed := time.Now()
	begun := s.begun(1)
	eventually(t, "the others have all of the limit", func() bool {
		<-time.After(500 * time.Millisecond)
		return s.together(killed, time.Now(), func(x transaction) bool { return x.relay != name(1) }) == connections
	})
	took := time.Since(killed)
	if took < 20*time.Second {
		t.Errorf("the others had the share of a relay that might be sending after %v", took)
	}
	s.limit(lowered)
	changed := time.Now()
	eventually(t, "there are no more on the way than the limit allows now", func() bool {
		<-time.After(2 * time.Second)
		return s.together(time.Now().Add(-2*time.Second), time.Now(), everybody) <= lowered
	})
	settled := time.Now()
	t.Logf("the others had its share after %v, and there were as few as the new limit allows after %v", took, settled.Sub(changed))
	<-time.After(10 * time.Second)
	if most := s.together(settled, time.Now(), everybody); most > lowered {
		t.Errorf("%d messages on the way at once, want at most %d", most, lowered)
	}
	if most := s.together(time.Time{}, changed, everybody); most > connections {
		t.Errorf("%d messages on the way at once, want at most %d", most, connections)
	}
	s.once(begun)
}
