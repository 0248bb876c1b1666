package attempt

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestTimeOfTheRoute: how long it took to find the route is counted once for each
// recipient: in its first attempt, whether that is its own or one of all.
func TestTimeOfTheRoute(t *testing.T) {
	later := smtptest.Cue{At: smtptest.Rcpt, Reply: "450 4.2.1 later"}
	laterForU := smtptest.Cue{At: smtptest.Rcpt, Address: "u@e.test", Reply: "450 4.2.1 later"}
	for _, c := range []struct {
		name  string
		hosts []*smtptest.Host
		users string
		want  string // the seconds of the route in each attempt, by recipient
	}{
		{"taken", []*smtptest.Host{host()}, "u v", "u 5, v 5"},
		{"taken after all", []*smtptest.Host{nil, host()}, "u v", "u 5 0, v 5 0"},
		{"taken by the third", []*smtptest.Host{nil, nil, host()}, "u", "u 5 0 0"},
		{"nobody can be reached", []*smtptest.Host{nil, nil}, "u v", "u 5 0, v 5 0"},
		{"refused and taken", []*smtptest.Host{host(later), host()}, "u", "u 5 0"},
		{"refused, and the next cannot be reached", []*smtptest.Host{host(later), nil}, "u v", "u 5 0, v 5 0"},
		{"refused, and no other can be reached", []*smtptest.Host{host(later), nil, nil}, "u", "u 5 0 0"},
		{"unreachable, refused, unreachable", []*smtptest.Host{nil, host(later), nil}, "u", "u 5 0 0"},
		{"one is taken", []*smtptest.Host{host(laterForU), nil}, "u v", "u 5 0, v 5"},
		{"one was not asked", []*smtptest.Host{limited(1, 1, laterForU, smtptest.Cue{At: smtptest.Banner, Conn: 2, Then: smtptest.Close}), nil}, "u v",
			"u 5 0 0, v 5 0"},
	} {
		tour(t, c.name, c.hosts, func(tr *trip) {
			o := &timekeeper{told: make(map[string]time.Duration)}
			job := tr.config.Job(to(strings.Fields(c.users)...), o, &tr.opts)
			defer job.Release()
			if job.Accept(t.Context()) != nil {
				tr.t.Fatal("not accepted")
			}
			w := &job.Walks()[0]
			w.Asked(5 * time.Second)
			w.Along(tr.t.Context(), &tr.route)
			var list []string
			for _, r := range job.Results() {
				user := strings.TrimSuffix(r.Address, "@e.test")
				for _, a := range r.Attempts {
					user += fmt.Sprint(" ", a.Stages.DNS.Seconds())
				}
				list = append(list, user)
				if o.told[r.Address] < 5*time.Second {
					tr.t.Errorf("%s: told of %v", r.Address, o.told[r.Address])
				}
			}
			if got := strings.Join(list, ", "); got != c.want {
				tr.t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestTimesOfAnAttempt: each attempt has the times of its own stages. Those of a connection
// are in its first one.
func TestTimesOfAnAttempt(t *testing.T) {
	const s = time.Second
	slow := []smtptest.Cue{
		{At: smtptest.Hello, Delay: 16 * s}, {At: smtptest.Mail, Delay: s}, {At: smtptest.Rcpt, Address: "no@e.test", Delay: 2 * s, Reply: "550 5.1.1 no"},
		{At: smtptest.Rcpt, Delay: 2 * s}, {At: smtptest.Data, Delay: 4 * s}, {At: smtptest.Final, Delay: 8 * s},
	}
	inLockstep := &smtptest.Host{Extensions: []string{"LIMITS RCPTMAX=1"}, Script: slow}
	tour(t, "in lockstep", []*smtptest.Host{inLockstep}, func(tr *trip) {
		for _, c := range []struct {
			users string
			want  []session.Stages // of the only attempt of each
		}{
			{"u v", []session.Stages{{Hello: 16 * s, Mail: 7 * s, Reply: 8 * s}, {Mail: 7 * s, Reply: 8 * s}}},
			{"no", []session.Stages{{Mail: 3 * s}}},
			{"u", []session.Stages{{Mail: 7 * s, Reply: 8 * s}}},
		} {
			began := time.Now()
			job := tr.config.Job(to(strings.Fields(c.users)...), new(diary), &tr.opts)
			if job.Accept(t.Context()) != nil {
				tr.t.Fatal("not accepted")
			}
			route := tr.route
			job.Walks()[0].Along(tr.t.Context(), &route)
			for i, r := range job.Results() {
				a := r.Attempts[0]
				got, sum := a.Stages, time.Duration(0)
				for _, d := range []*time.Duration{&got.Connect, &got.Hello, &got.TLS, &got.Mail, &got.Content, &got.Reply} {
					*d = d.Round(s / 10)
					sum += *d
				}
				if len(r.Attempts) != 1 || got != c.want[i] || a.Duration.Round(s/10) != sum || a.Began.Sub(began).Round(s/10) != 0 {
					tr.t.Errorf("%s: %+v, in all %v, begun after %v; want %+v", r.Address, got, a.Duration, a.Began.Sub(began), c.want[i])
				}
				began = began.Add(sum)
			}
			job.Release()
			pass(s)
		}
	})
	stalls := host(smtptest.Cue{At: smtptest.Content, After: 1000, Delay: 32 * s}, smtptest.Cue{At: smtptest.Final, Delay: 8 * s}, smtptest.Cue{At: smtptest.Data, Delay: 4 * s})
	tour(t, "with content that the host is slow to read", []*smtptest.Host{stalls}, func(tr *trip) {
		m := to("u")
		m.Content = queue.String("Subject: s\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 20_000))
		job := tr.config.Job(m, new(diary), &tr.opts)
		defer job.Release()
		if job.Accept(t.Context()) != nil {
			tr.t.Fatal("not accepted")
		}
		job.Walks()[0].Along(tr.t.Context(), &tr.route)
		got := job.Results()[0].Attempts[0].Stages
		if mail, content, reply := got.Mail.Round(s), got.Content.Round(s), got.Reply.Round(s); mail != 4*s || content != 32*s || reply != 8*s {
			tr.t.Errorf("%+v", got)
		}
	})
}

// timekeeper adds up the time of the route in the attempts that it is told of.
type timekeeper struct {
	diary
	told map[string]time.Duration
}

func (o *timekeeper) WantsAttempts() bool { return true }
func (o *timekeeper) Attempt(_ string, recipients []string, a Attempt) {
	for _, r := range recipients {
		o.told[r] += a.Stages.DNS
	}
}
