package attempt

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
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
			if job.Accept() != nil {
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
