package attempt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// diary is an Observer that notes the steps of a walk.
type diary struct{ steps []string }

func (d *diary) Connect(string, netip.AddrPort)                     {}
func (d *diary) Connected(string, netip.AddrPort, error)            {}
func (d *diary) Decided(any)                                        {}
func (d *diary) Secured(string, netip.AddrPort, session.Protection) {}
func (d *diary) Reused(string, netip.AddrPort)                      {}
func (d *diary) Lines(string, netip.AddrPort) func(smtp.Line)       { return nil }
func (d *diary) WantsAttempts() bool                                { return d != nil }

func (d *diary) Route(domain string, route mx.Route, err error) {
	d.steps = append(d.steps, fmt.Sprintf("route of %s: %v, %d hosts, %v", domain, route.Via, len(route.Hosts), err))
}

func (d *diary) Attempt(domain string, recipients []string, a Attempt) {
	d.steps = append(d.steps, fmt.Sprintf("%s: %s: %s", domain, strings.Join(recipients, " "), inWords(&a)))
}

var (
	verdictWords = map[Verdict]string{NotNow: "not now", HostRefuses: "host refuses", Refused: "refused", MaybeTaken: "maybe taken", Taken: "taken"}
	nextWords    = map[Next]string{
		NextAddress: "next address", NextHost: "next host", SameHost: "same host", InClear: "in clear", StopSettled: "settled", StopUnknown: "unknown",
		StopHosts: "no host left", StopLimit: "limit", StopCanceled: "canceled", NextFallback: "fallback", StopSelf: "self",
	}
)

// inWords is an attempt in words: the host, the last figure of the address, whether the
// session was kept, what it means, the status, and what followed.
func inWords(a *Attempt) string {
	s := strings.TrimSuffix(a.Host, ".e.test")
	if a.Addr.IsValid() {
		ip := a.Addr.Addr().As4()
		s += fmt.Sprintf("@%d", ip[3])
	}
	if a.Reused {
		s += " again"
	}
	s += " " + verdictWords[a.Verdict]
	if a.Err != nil {
		s += " " + a.Err.Enhanced
		if a.Err.Verdict != a.Verdict {
			s += " but " + verdictWords[a.Err.Verdict]
		}
		if a.Err.Remembered {
			s += " remembered"
		}
	}
	if a.Doubted != 0 {
		s += " doubts " + a.Doubted.String()
	}
	if a.Without != 0 {
		s += " without " + a.Without.String()
	}
	return s + ", " + nextWords[a.Next]
}

// show is what became of the recipients.
func show(results []Result) string {
	var b strings.Builder
	for i := range results {
		r := &results[i]
		fmt.Fprintf(&b, "%s %v", strings.TrimSuffix(r.Address, "@e.test"), r.Outcome)
		if r.Host != "" {
			fmt.Fprintf(&b, " by %s", strings.TrimSuffix(r.Host, ".e.test"))
		}
		if r.Err != nil {
			fmt.Fprintf(&b, " %s", r.Err.Enhanced)
			if r.Err.Verdict.outcome() != r.Outcome || r.Reply.Enhanced != r.Err.Enhanced {
				fmt.Fprintf(&b, " (%s, %s)", verdictWords[r.Err.Verdict], r.Reply.Enhanced)
			}
		}
		if cmp.Or(r.Via, mx.ViaMX) != mx.ViaMX {
			fmt.Fprintf(&b, " via %v", r.Via)
		}
		for j := range r.Attempts {
			b.WriteString("; " + inWords(&r.Attempts[j]))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// trip is an internet of hosts and what walks it.
type trip struct {
	t      *testing.T
	net    *smtptest.Network
	config *Config
	route  mx.Route
	opts   Options
	diary  *diary
	mu     sync.Mutex
	dials  []string // by address, of the last message
}

// addressOf is 192.0.2.n.
func addressOf(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }

// tour runs f in virtual time with the hosts at 192.0.2.1, .2, ... of which nil is
// none, and a route to mx1 at the first of them, mx2 at the second, and so on.
func tour(t *testing.T, name string, hosts []*smtptest.Host, f func(tr *trip)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := &trip{t: t, net: &smtptest.Network{Servers: map[string]smtptest.Server{}}}
			tr.config = &Config{Sessions: &session.Pool{Config: session.Config{Hello: "from.test", Self: []string{"us.test"}, Dial: tr.dial}}}
			tr.route = mx.Route{Domain: "e.test", Via: mx.ViaMX}
			for i, h := range hosts {
				if h != nil {
					tr.net.Servers[addressOf(i+1).String()] = h
				}
				tr.route.Hosts = append(tr.route.Hosts, mx.Host{
					Name: fmt.Sprintf("mx%d.e.test", i+1), Preference: uint16(10 * (i + 1)), Addrs: []netip.Addr{addressOf(i + 1)},
				})
			}
			tr.net.Servers["198.51.100.1"] = &smtptest.Host{} // so that the rest is refused, and not unreachable
			defer tr.net.Close()
			defer tr.config.Sessions.Close()
			f(tr)
		})
	})
}

func (tr *trip) dial(ctx context.Context, network, address string) (net.Conn, error) {
	tr.mu.Lock()
	tr.dials = append(tr.dials, strings.TrimSuffix(address, ":25"))
	tr.mu.Unlock()
	return tr.net.DialContext(ctx, network, address)
}

// wantDials checks whom the last message had connections to.
func (tr *trip) wantDials(list ...int) {
	tr.t.Helper()
	var want []string
	for _, n := range list {
		want = append(want, addressOf(n).String())
	}
	if !slices.Equal(tr.dials, want) {
		tr.t.Errorf("dialled %v, want %v", tr.dials, want)
	}
}

// to is a message to users at e.test, or to whole addresses.
func to(users ...string) *queue.Message {
	m := &queue.Message{From: "a@from.test", Content: queue.String("Subject: s\r\n\r\nbody\r\n")}
	for _, u := range users {
		if !strings.Contains(u, "@") {
			u += "@e.test"
		}
		m.Recipients = append(m.Recipients, queue.Recipient{Address: u})
	}
	return m
}

// send takes a message along the route and returns what became of it.
func (tr *trip) send(ctx context.Context, m *queue.Message) string {
	tr.t.Helper()
	tr.diary, tr.dials = new(diary), nil
	job := tr.config.Job(m, tr.diary, &tr.opts)
	defer job.Release()
	if job.Accept(context.WithoutCancel(ctx)) == nil {
		for i := range job.Walks() {
			route := tr.route
			job.Walks()[i].Along(ctx, &route)
		}
	}
	// Nobody is dialled of whom there is nothing to tell.
	told := make(map[string]bool)
	for _, r := range job.Results() {
		for _, a := range r.Attempts {
			told[a.Addr.Addr().String()] = true
		}
	}
	for _, d := range tr.dials {
		if !told[d] {
			tr.t.Errorf("%s was dialled, of which there is no attempt", d)
		}
	}
	return show(job.Results())
}

// want sends a message to users and compares what became of it, a line for each.
func (tr *trip) want(users string, lines ...string) {
	tr.t.Helper()
	tr.same(tr.send(tr.t.Context(), to(strings.Fields(users)...)), lines...)
}

func (tr *trip) same(got string, lines ...string) {
	tr.t.Helper()
	if want := strings.Join(lines, "\n") + "\n"; got != want {
		tr.t.Errorf("got\n%swant\n%s", got, want)
	}
}

// host is one with a script.
func host(cues ...smtptest.Cue) *smtptest.Host {
	return &smtptest.Host{Extensions: []string{"PIPELINING", "ENHANCEDSTATUSCODES"}, Script: cues, Allow: []smtptest.Rule{smtptest.RuleNoQuit}}
}

// says is a host that gives one answer.
func says(at smtptest.Stage, reply string) *smtptest.Host {
	return host(smtptest.Cue{At: at, Reply: reply})
}

// drops is a host that hangs up without an answer.
func drops(at smtptest.Stage) *smtptest.Host { return host(smtptest.Cue{At: at, Then: smtptest.Close}) }

// limited is a host that takes so many recipients in a transaction and so many
// messages in a session; 0 is any number.
func limited(rcpts, mails int, cues ...smtptest.Cue) *smtptest.Host {
	h := host(cues...)
	limits := "LIMITS"
	if rcpts > 0 {
		limits += fmt.Sprintf(" RCPTMAX=%d", rcpts)
	}
	if mails > 0 {
		limits += fmt.Sprintf(" MAILMAX=%d", mails)
	}
	h.Extensions = append(h.Extensions, limits)
	return h
}

func TestWalk(t *testing.T) {
	type hosts = []*smtptest.Host
	wants := func(name string, on hosts, users string, lines ...string) {
		t.Helper()
		tour(t, name, on, func(tr *trip) { tr.want(users, lines...) })
	}
	wants("the first host takes it", hosts{host(), host()}, "u", "u delivered by mx1; mx1@1 taken, settled")
	wants("MX-22 the first cannot be reached", hosts{nil, host()}, "u", "u delivered by mx2; mx1@1 not now 4.4.1, next address; mx2@2 taken, settled")
	wants("MX-22 a greeting of 421", hosts{says(smtptest.Banner, "421 busy"), host()}, "u",
		"u delivered by mx2; mx1@1 not now 4.3.2, next address; mx2@2 taken, settled")
	wants("SMTP-2 every host refuses in its greeting", hosts{says(smtptest.Banner, "554 no"), says(smtptest.Banner, "521 no")}, "u",
		"u failed by mx2 5.3.2; mx1@1 host refuses 5.3.2, next address; mx2@2 host refuses 5.3.2, no host left")
	wants("SMTP-2 one refuses and one is down", hosts{says(smtptest.Banner, "554 no"), nil}, "u",
		"u deferred by mx2 4.4.1; mx1@1 host refuses 5.3.2, next address; mx2@2 not now 4.4.1, no host left")
	wants("MX-22 recipients go their own ways", hosts{
		host(smtptest.Cue{At: smtptest.Rcpt, Address: "v@e.test", Reply: "550 5.1.1 who"}, smtptest.Cue{At: smtptest.Rcpt, Address: "w@e.test", Reply: "450 4.2.1 later"}), host(),
	}, "u v w",
		"u delivered by mx1; mx1@1 taken, settled",
		"v failed by mx1 5.1.1; mx1@1 refused 5.1.1, settled",
		"w delivered by mx2; mx1@1 not now 4.2.1, next host; mx2@2 taken, settled")
	wants("MX-22 nobody takes it now", hosts{says(smtptest.Rcpt, "450 4.2.1 later"), nil}, "u",
		"u deferred by mx1 4.2.1; mx1@1 not now 4.2.1, next host; mx2@2 not now 4.4.1, no host left")
	wants("what came further decides among equals", hosts{nil, says(smtptest.Mail, "451 4.3.0 later"), says(smtptest.Banner, "421 busy")}, "u",
		"u deferred by mx2 4.3.0; mx1@1 not now 4.4.1, next address; mx2@2 not now 4.3.0, next host; mx3@3 not now 4.3.2, no host left")
	wants("and of two that came as far the later", hosts{says(smtptest.Mail, "451 4.3.0 a"), says(smtptest.Mail, "451 4.3.1 b")}, "u",
		"u deferred by mx2 4.3.1; mx1@1 not now 4.3.0, next host; mx2@2 not now 4.3.1, no host left")
	wants("SMTP-22 MAIL is refused", hosts{says(smtptest.Mail, "550 5.7.1 no"), host()}, "u v",
		"u failed by mx1 5.7.1; mx1@1 refused 5.7.1, settled", "v failed by mx1 5.7.1; mx1@1 refused 5.7.1, settled")
	wants("SMTP-27 the content is refused for now", hosts{says(smtptest.Final, "451 4.3.0 later"), host()}, "u",
		"u delivered by mx2; mx1@1 not now 4.3.0, next host; mx2@2 taken, settled")
	wants("SMTP-20 the session is lost at RCPT", hosts{drops(smtptest.Rcpt), host()}, "u",
		"u delivered by mx2; mx1@1 not now 4.4.2 doubts PIPELINING, next address; mx2@2 taken, settled")
	wants("SMTP-21 the reply to the final dot is lost", hosts{drops(smtptest.Final), host()}, "u",
		"u unknown by mx1 4.4.2; mx1@1 maybe taken 4.4.2, unknown")
	wants("SMTP-21 and recipients beyond the first transaction go nowhere", hosts{limited(1, 0, smtptest.Cue{At: smtptest.Final, Then: smtptest.Close}), host()}, "u v",
		"u unknown by mx1 4.4.2; mx1@1 maybe taken 4.4.2, unknown", "v deferred 4.4.0")
	wants("several transactions in a session", hosts{limited(2, 0)}, "u v w",
		"u delivered by mx1; mx1@1 taken, settled", "v delivered by mx1; mx1@1 taken, settled", "w delivered by mx1; mx1@1 taken, settled")
	wants("and in several sessions, which do not count", hosts{limited(1, 1)}, "a b c d e f g",
		"a delivered by mx1; mx1@1 taken, settled", "b delivered by mx1; mx1@1 taken, settled", "c delivered by mx1; mx1@1 taken, settled",
		"d delivered by mx1; mx1@1 taken, settled", "e delivered by mx1; mx1@1 taken, settled", "f delivered by mx1; mx1@1 taken, settled",
		"g delivered by mx1; mx1@1 taken, settled")
	wants("MAIL refused once is refused for all", hosts{limited(1, 0, smtptest.Cue{At: smtptest.Mail, Nth: 1, Reply: "550 5.7.1 no"})}, "u v",
		"u failed by mx1 5.7.1; mx1@1 refused 5.7.1, settled", "v failed by mx1 5.7.1; mx1@1 refused 5.7.1, settled")
	wants("but not where others were taken before", hosts{limited(1, 0, smtptest.Cue{At: smtptest.Mail, Nth: 2, Reply: "550 5.7.1 no"})}, "u v w",
		"u delivered by mx1; mx1@1 taken, settled", "v failed by mx1 5.7.1; mx1@1 refused 5.7.1, settled", "w delivered by mx1; mx1@1 taken, settled")
	wants("SMTP-27 content refused once is refused for all", hosts{limited(1, 0, smtptest.Cue{At: smtptest.Final, Nth: 1, Reply: "554 5.6.0 no"})}, "u v",
		"u failed by mx1 5.6.0; mx1@1 refused 5.6.0, settled", "v failed by mx1 5.6.0; mx1@1 refused 5.6.0, settled")
	wants("SMTP-27 but not for the sake of a mailbox", hosts{limited(1, 0, smtptest.Cue{At: smtptest.Final, Nth: 1, Reply: "554 5.2.2 full"})}, "u v",
		"u failed by mx1 5.2.2; mx1@1 refused 5.2.2, settled", "v delivered by mx1; mx1@1 taken, settled")
	wants("SMTP-27 nor of an address", hosts{limited(1, 0, smtptest.Cue{At: smtptest.Final, Nth: 1, Reply: "554 5.1.1 who"})}, "u v",
		"u failed by mx1 5.1.1; mx1@1 refused 5.1.1, settled", "v delivered by mx1; mx1@1 taken, settled")
	wants("SMTP-27 nor where it was taken before", hosts{limited(1, 0, smtptest.Cue{At: smtptest.Final, Nth: 2, Reply: "554 5.6.0 no"})}, "u v w",
		"u delivered by mx1; mx1@1 taken, settled", "v failed by mx1 5.6.0; mx1@1 refused 5.6.0, settled", "w delivered by mx1; mx1@1 taken, settled")
	wants("SMTP-27 nor for now", hosts{limited(1, 0, smtptest.Cue{At: smtptest.Final, Nth: 1, Reply: "451 4.6.0 hm"})}, "u v",
		"u deferred by mx1 4.6.0; mx1@1 not now 4.6.0, no host left", "v delivered by mx1; mx1@1 taken, settled")
	wants("recipients named twice are offered once", hosts{host()}, "u v u@E.TEST u",
		"u delivered by mx1; mx1@1 taken, settled", "v delivered by mx1; mx1@1 taken, settled", "u@E.TEST delivered by mx1; mx1@1 taken, settled", "u delivered by mx1; mx1@1 taken, settled")
	wants("what is no address is refused at once", hosts{host()}, "u @e.test v",
		"u delivered by mx1; mx1@1 taken, settled", " failed 5.1.3", "v delivered by mx1; mx1@1 taken, settled")
	wants("a route without hosts", nil, "u", "u deferred 4.4.1")
}

// slowly lets a message to any host go every ten seconds.
type slowly struct{}

func (slowly) Host(_, _ string) session.HostLimits {
	return session.HostLimits{PerSite: 9, Groups: []session.GroupLimits{{Name: "slow", Rate: 0.1}}}
}

// gateOf is a gate that leaves a transaction so many recipients.
func gateOf(recipients int) *session.Gate {
	return session.NewGate(func() session.Limits {
		return session.Limits{Connections: 9, PerSite: 9, PerHost: 9, PerAddress: 9, ConnectionLife: time.Hour, Recipients: recipients}
	})
}

// TestWalkBeyond is what ends a walk, and what goes with its hosts.
func TestWalkBeyond(t *testing.T) {
	type hosts = []*smtptest.Host
	tour(t, "MX-21 two addresses of a host, in their order", hosts{nil, host()}, func(tr *trip) {
		tr.route.Hosts = tr.route.Hosts[:1]
		tr.route.Hosts[0].Addrs = append(tr.route.Hosts[0].Addrs, addressOf(2))
		tr.want("u", "u delivered by mx1; mx1@1 not now 4.4.1, next address; mx1@2 taken, settled")
	})
	tour(t, "MX-22 a host that has answered is not asked at its next address", hosts{says(smtptest.Rcpt, "450 4.2.1 later"), host()}, func(tr *trip) {
		tr.route.Hosts = tr.route.Hosts[:1]
		tr.route.Hosts[0].Addrs = append(tr.route.Hosts[0].Addrs, addressOf(2))
		tr.want("u", "u deferred by mx1 4.2.1; mx1@1 not now 4.2.1, no host left")
	})
	tour(t, "MX-22 but those for whom it has not are", hosts{host(smtptest.Cue{At: smtptest.Rcpt, Nth: 1, Reply: "450 4.2.1 later"}, smtptest.Cue{At: smtptest.Rcpt, Nth: 2, Then: smtptest.Close}), host()}, func(tr *trip) {
		tr.route.Hosts = tr.route.Hosts[:1]
		tr.route.Hosts[0].Addrs = append(tr.route.Hosts[0].Addrs, addressOf(2))
		tr.want("u v", "u deferred by mx1 4.2.1; mx1@1 not now 4.2.1 doubts PIPELINING, no host left", "v delivered by mx1; mx1@1 not now 4.4.2 doubts PIPELINING, next address; mx1@2 taken, settled")
	})
	tour(t, "a limit on connections", hosts{nil, nil, host()}, func(tr *trip) {
		tr.config.MaxConnections = 2
		tr.want("u", "u deferred by mx2 4.4.1; mx1@1 not now 4.4.1, next address; mx2@2 not now 4.4.1, limit")
	})
	tour(t, "SMTP-2 a refusal is not final where a limit leaves hosts unasked", hosts{says(smtptest.Banner, "554 no"), says(smtptest.Banner, "554 no"), host()}, func(tr *trip) {
		tr.config.MaxConnections = 2
		tr.want("u v", "u deferred by mx2 5.3.2; mx1@1 host refuses 5.3.2, next address; mx2@2 host refuses 5.3.2, limit",
			"v deferred by mx2 5.3.2; mx1@1 host refuses 5.3.2, next address; mx2@2 host refuses 5.3.2, limit")
	})
	tour(t, "a limit on sessions that reach MAIL", hosts{says(smtptest.Mail, "451 4.3.0 later"), says(smtptest.Banner, "421 busy"), says(smtptest.Rcpt, "451 4.3.0 later"), host()}, func(tr *trip) {
		tr.config.MaxSessions = 2
		tr.want("u", "u deferred by mx3 4.3.0; mx1@1 not now 4.3.0, next host; mx2@2 not now 4.3.2, next address; mx3@3 not now 4.3.0 doubts PIPELINING, limit")
	})
	tour(t, "a limit on recipients", hosts{host()}, func(tr *trip) {
		tr.opts.Gate = gateOf(2)
		tr.want("u v w", "u delivered by mx1; mx1@1 taken, settled", "v delivered by mx1; mx1@1 taken, settled", "w delivered by mx1; mx1@1 taken, settled")
		if got := len(tr.net.Servers["192.0.2.1"].(*smtptest.Host).Messages()); got != 2 {
			tr.t.Errorf("%d transactions, want 2", got)
		}
	})
	tour(t, "the caller has given up before", hosts{host()}, func(tr *trip) {
		ctx, cancel := context.WithCancel(tr.t.Context())
		cancel()
		tr.same(tr.send(ctx, to("u")), "u deferred by mx1 4.4.7; mx1@1 not now 4.4.7, canceled")
		tr.wantDials()
	})
	for at, want := range map[smtptest.Stage]string{
		smtptest.Banner: "u deferred by mx1 4.4.7; mx1@1 not now 4.4.7, canceled",
		smtptest.Mail:   "u deferred by mx1 4.4.2; mx1@1 not now 4.4.2, canceled",
		smtptest.Final:  "u unknown by mx1 4.4.2; mx1@1 maybe taken 4.4.2, unknown",
	} {
		tour(t, "the caller gives up at "+at.String(), hosts{host(smtptest.Cue{At: at, Then: smtptest.Stall}), host()}, func(tr *trip) {
			ctx, cancel := context.WithTimeout(tr.t.Context(), time.Second)
			defer cancel()
			tr.same(tr.send(ctx, to("u")), want)
		})
	}
	tour(t, "the caller gives up while a group's pace has it wait", hosts{host()}, func(tr *trip) {
		tr.opts.Gate = session.NewGate(func() session.Limits {
			return session.Limits{Connections: 9, PerSite: 9, PerHost: 9, PerAddress: 9, ConnectionLife: time.Hour, Rules: slowly{}}
		})
		tr.want("u", "u delivered by mx1; mx1@1 taken, settled")
		ctx, cancel := context.WithTimeout(tr.t.Context(), time.Second)
		defer cancel()
		tr.same(tr.send(ctx, to("v")), "v deferred by mx1 4.4.7; mx1@1 not now 4.4.7, canceled")
		if got := len(tr.net.Servers["192.0.2.1"].(*smtptest.Host).Messages()); got != 1 {
			tr.t.Errorf("%d messages went, want 1", got)
		}
		time.Sleep(10 * time.Second)
		tr.want("w", "w delivered by mx1; mx1@1 again taken, settled")
		tr.wantDials()
	})
	self := func() *smtptest.Host { return &smtptest.Host{Name: "us.test"} }
	tour(t, "MX-24 a host that is this one, and there are others", hosts{nil, self(), host()}, func(tr *trip) {
		tr.want("u", "u deferred by mx1 4.4.1; mx1@1 not now 4.4.1, next address; mx2@2 host refuses 5.4.6, self")
	})
	tour(t, "MX-24 a host that is this one, and there is none behind it", hosts{nil, self()}, func(tr *trip) {
		tr.want("u", "u deferred by mx1 4.4.1; mx1@1 not now 4.4.1, next address; mx2@2 host refuses 5.4.6, no host left")
	})
	tour(t, "a smart host that is this one, and another", hosts{self(), host()}, func(tr *trip) {
		tr.route.Via = mx.ViaSmartHost
		tr.want("u", "u delivered by mx2 via smarthost; mx1@1 host refuses 5.4.6, next address; mx2@2 taken, settled")
	})
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"a policy that cannot be found": {broken, "mx1 not now 4.7.5"},
		"a mistake in the settings":     {&session.ConfigError{Err: broken}, "mx1 not now 4.3.5"},
	} {
		tour(t, name, hosts{host(), host()}, func(tr *trip) {
			tr.config.Sessions.Policy = func(_ context.Context, _ *mx.Route, h *mx.Host) (session.Policy, error) {
				if h.Name == "mx1.e.test" {
					return session.Policy{}, c.err
				}
				return session.Policy{}, nil
			}
			tr.want("u", "u delivered by mx2; "+c.want+", next host; mx2@2 taken, settled")
		})
	}
	tour(t, "hosts that were left out", hosts{says(smtptest.Banner, "554 no")}, func(tr *trip) {
		lost := mx.Host{Name: "mx0.e.test"}
		tr.route.LeftOut = []mx.LeftOut{{Host: lost, Reason: mx.LookupFailed, Err: broken}}
		tr.want("u", "u deferred by mx0 4.4.3; mx0 not now 4.4.3, next host; mx1@1 host refuses 5.3.2, no host left")
		tr.config.Sessions.Memory.Clear()
		tr.route.LeftOut[0].Reason = mx.BadRecord
		tr.want("u", "u deferred by mx0 4.4.3; mx0 not now 4.4.3, next host; mx1@1 host refuses 5.3.2, no host left")
		tr.config.Sessions.Memory.Clear()
		tr.route.LeftOut[0].Reason = mx.HasNoAddress
		tr.want("u", "u failed by mx1 5.3.2; mx1@1 host refuses 5.3.2, no host left")
		tr.config.Sessions.Memory.Clear()
		tr.route.LeftOut[0].Reason = mx.OverLimit
		tr.want("u", "u deferred by mx1 5.3.2; mx1@1 host refuses 5.3.2, no host left")
		tr.config.Sessions.Memory.Clear()
		tr.route.LeftOut, tr.route.Unlisted = nil, 1
		tr.want("u", "u deferred by mx1 5.3.2; mx1@1 host refuses 5.3.2, no host left")
	})
	tour(t, "MX-23 what is remembered of an address", hosts{nil, host()}, func(tr *trip) {
		tr.want("u", "u delivered by mx2; mx1@1 not now 4.4.1, next address; mx2@2 taken, settled")
		tr.want("u", "u delivered by mx2; mx1@1 not now 4.4.1 remembered, next address; mx2@2 again taken, settled")
		time.Sleep(20 * time.Second)
		tr.want("u", "u delivered by mx2; mx1@1 not now 4.4.1, next address; mx2@2 again taken, settled")
	})
	tour(t, "MX-23 where every address is remembered all are tried", hosts{nil, nil}, func(tr *trip) {
		for range 2 {
			tr.want("u", "u deferred by mx2 4.4.1; mx1@1 not now 4.4.1, next address; mx2@2 not now 4.4.1, no host left")
		}
	})
	tour(t, "a kept session", hosts{host()}, func(tr *trip) {
		tr.want("u", "u delivered by mx1; mx1@1 taken, settled")
		tr.want("u", "u delivered by mx1; mx1@1 again taken, settled")
		if n := len(tr.net.Dials()); n != 1 {
			tr.t.Errorf("%d connections, want 1", n)
		}
	})
	tour(t, "a kept session that has gone stale", hosts{host(smtptest.Cue{At: smtptest.Mail, Conn: 1, Nth: 2, Then: smtptest.Close})}, func(tr *trip) {
		tr.want("u", "u delivered by mx1; mx1@1 taken, settled")
		tr.want("u", "u delivered by mx1; mx1@1 taken, settled")
		if n := len(tr.net.Dials()); n != 2 {
			tr.t.Errorf("%d connections, want 2", n)
		}
	})
}

// TestWalkFallback is what goes on to the fallback hosts.
func TestWalkFallback(t *testing.T) {
	type hosts = []*smtptest.Host
	// The last of the hosts is the fallback.
	fallback := func(name string, on hosts, change func(tr *trip), users string, lines ...string) {
		t.Helper()
		tour(t, "QUE-14 "+name, on, func(tr *trip) {
			n := len(on) - 1
			last := mx.Route{Domain: "e.test", Via: mx.ViaFallback, Hosts: tr.route.Hosts[n:]}
			tr.route.Hosts = tr.route.Hosts[:n]
			tr.route.Fallback = func(context.Context) (mx.Route, error) { return last, nil }
			if change != nil {
				change(tr)
			}
			tr.want(users, lines...)
		})
	}
	fallback("the host is down", hosts{nil, host()}, nil, "u", "u delivered by mx2 via fallback; mx1@1 not now 4.4.1, fallback; mx2@2 taken, settled")
	fallback("the host is up", hosts{host(), host()}, nil, "u", "u delivered by mx1; mx1@1 taken, settled")
	fallback("only those go whom it has failed for now", hosts{
		host(smtptest.Cue{At: smtptest.Rcpt, Address: "v@e.test", Reply: "550 5.1.1 who"}, smtptest.Cue{At: smtptest.Rcpt, Address: "w@e.test", Reply: "450 4.2.1 later"}), host(),
	}, nil, "u v w",
		"u delivered by mx1; mx1@1 taken, settled", "v failed by mx1 5.1.1; mx1@1 refused 5.1.1, settled",
		"w delivered by mx2 via fallback; mx1@1 not now 4.2.1, fallback; mx2@2 taken, settled")
	fallback("a host that refuses for itself has the last word", hosts{says(smtptest.Banner, "554 no"), host()}, nil, "u",
		"u failed by mx1 5.3.2; mx1@1 host refuses 5.3.2, no host left")
	fallback("nobody goes after an unknown outcome", hosts{limited(1, 0, smtptest.Cue{At: smtptest.Final, Then: smtptest.Close}), host()}, nil, "u v",
		"u unknown by mx1 4.4.2; mx1@1 maybe taken 4.4.2, unknown", "v deferred 4.4.0")
	fallback("the limits count anew", hosts{nil, nil, nil, host()}, func(tr *trip) { tr.config.MaxConnections = 2 }, "u",
		"u delivered by mx4 via fallback; mx1@1 not now 4.4.1, next address; mx2@2 not now 4.4.1, fallback; mx4@4 taken, settled")
	fallback("those of sessions as well", hosts{says(smtptest.Mail, "451 4.3.0 later"), host()}, func(tr *trip) { tr.config.MaxSessions = 1 }, "u",
		"u delivered by mx2 via fallback; mx1@1 not now 4.3.0, fallback; mx2@2 taken, settled")
	fallback("not where a host is this one", hosts{nil, {Name: "us.test"}, host()}, nil, "u",
		"u deferred by mx1 4.4.1; mx1@1 not now 4.4.1, next address; mx2@2 host refuses 5.4.6, no host left")
	fallback("a fallback that fails as well", hosts{nil, nil}, nil, "u",
		"u deferred by mx2 4.4.1 via fallback; mx1@1 not now 4.4.1, fallback; mx2@2 not now 4.4.1, no host left")
	fallback("a fallback that cannot be found", hosts{nil, host()}, func(tr *trip) {
		tr.route.Fallback = func(context.Context) (mx.Route, error) {
			return mx.Route{}, &mx.Error{Kind: mx.NoSuchDomain, Enhanced: "5.1.2", LeftOut: []mx.LeftOut{{Host: mx.Host{Name: "mx0.e.test"}, Reason: mx.LookupFailed}}}
		}
	}, "u", "u deferred by mx1 4.4.1 via fallback; mx1@1 not now 4.4.1, fallback; mx0 not now 4.4.3, next host;  not now 4.1.2, no host left")
	fallback("one that cannot be found for now", hosts{nil, host()}, func(tr *trip) {
		tr.route.Fallback = func(context.Context) (mx.Route, error) { return mx.Route{}, errors.New("no answer") }
	}, "u", "u deferred by mx1 4.4.1 via fallback; mx1@1 not now 4.4.1, fallback;  not now 4.4.3, no host left")
}
