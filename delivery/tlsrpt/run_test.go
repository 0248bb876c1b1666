package tlsrpt_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

const webZone = `
r.test               A   203.0.113.1
_smtp._tls.e.test    TXT "v=TLSRPTv1; rua=https://r.test/e"
_smtp._tls.f.test    TXT "v=TLSRPTv1; rua=mailto:tls@f.test"
_smtp._tls.both.test TXT "v=TLSRPTv1; rua=mailto:a@m.test,https://r.test/1,mailto:b@m.test,https://r.test/2"
quiet.test           A   203.0.113.9
`

func TestReportsOfADay(t *testing.T) {
	t.Run("TLS-46, TLS-47, TLS-49 a report for each day and domain, after the day", func(t *testing.T) {
		bubble(t, webZone, func(t *testing.T, w *world) {
			r := w.reporter()
			w.run(r)
			failed := tlsrpt.Failure{Result: tlsrpt.CertificateExpired, Host: "mx.e.test"}
			until(0, 23*time.Hour)
			r.Counts.Add("e.test", stsPolicy("e.test"))
			r.Counts.Add("e.test", stsPolicy("e.test"), failed)
			r.Counts.Add("f.test", &tlsrpt.Policy{})
			r.Counts.Add("quiet.test", &tlsrpt.Policy{})
			until(1, 0)
			r.Counts.Add("e.test", stsPolicy("e.test"))
			until(1, 9*time.Minute)
			if len(w.reports())+len(w.letters()) > 0 {
				t.Errorf("TLS-46 there are reports before all is counted: %v", w.reports())
			}
			until(1, 5*time.Hour)
			if got := w.received(); !slices.Equal(got, []string{"POST https://r.test/e"}) {
				t.Fatalf("TLS-49 posts are %q", got)
			}
			p := w.reports()[0]
			if p.kind != "application/tlsrpt+gzip" || p.agent != "nexthop-tlsrpt" {
				t.Errorf("TLS-49 the post is of %q by %q", p.kind, p.agent)
			}
			if got := sessions(p.report); got != "2000-01-01 sts e.test 1/1" || p.report.ContactInfo != "tls@send.test" || p.report.OrganizationName != "Send" {
				t.Errorf("TLS-46 the report is of %s, by %s of %s", got, p.report.ContactInfo, p.report.OrganizationName)
			}
			if got := w.mailed(); !slices.Equal(got, []string{"tls@f.test"}) {
				t.Errorf("TLS-47 mails go to %q", got)
			}
			until(2, 5*time.Hour)
			if got := w.reports()[len(w.reports())-1]; len(w.reports()) != 2 || sessions(got.report) != "2000-01-02 sts e.test 1/0" {
				t.Errorf("TLS-46 the next day has %v", w.reports())
			}
			until(10, 0)
			if len(w.reports()) != 2 || len(w.letters()) != 1 {
				t.Errorf("there are %d posts and %d mails", len(w.reports()), len(w.letters()))
			}
		})
	})
}

// Many domains, one of which is looked at: reports go over hours, at other times each day.
func TestReportsAreSpreadOverHours(t *testing.T) {
	zone := "r.test A 203.0.113.1\n"
	const domains = 200
	for i := range domains {
		zone += fmt.Sprintf("_smtp._tls.d%d.test TXT \"v=TLSRPTv1; rua=https://r.test/%d\"\n", i, i)
	}
	t.Run("TLS-46 over hours", func(t *testing.T) {
		bubble(t, zone, func(t *testing.T, w *world) {
			r := w.reporter()
			w.run(r)
			for day := range 2 {
				until(day, time.Hour)
				for i := range domains {
					r.Counts.Add(fmt.Sprintf("d%d.test", i), &tlsrpt.Policy{})
				}
			}
			until(2, 12*time.Hour)
			hours, at := map[string]int{}, map[string]time.Duration{}
			same := 0
			for _, p := range w.reports() {
				hours[p.at.UTC().Format("02 15")]++
				into := p.at.Sub(p.at.Truncate(24 * time.Hour))
				if into < 10*time.Minute || into > 4*time.Hour+11*time.Minute {
					t.Errorf("TLS-46 %v is not within four hours", p)
				}
				if before, ok := at[p.url]; ok && (before-into).Abs() < time.Minute {
					same++
				}
				at[p.url] = into
			}
			if len(w.reports()) != 2*domains || same > domains/10 {
				t.Errorf("TLS-46 %d posts, %d of which are at the same time each day", len(w.reports()), same)
			}
			for _, hour := range []string{"02 01", "02 02", "02 03", "03 01", "03 02", "03 03"} {
				if hours[hour] < 30 || hours[hour] > 70 {
					t.Errorf("TLS-46 in the hour %s there are %d", hour, hours[hour])
				}
			}
		})
	})
}

func TestSeveralTargets(t *testing.T) {
	for _, test := range []struct {
		name   string
		set    func(w *world)
		posts  []string // by their path
		mails  []string
		result string

		unsigned bool // from then on
	}{
		{"TLS-49 each target gets the report", nil, []string{"/1", "/2"}, []string{"a@m.test", "b@m.test"}, "4 taken", false},
		{"TLS-49 one of a kind is enough", func(w *world) {
			n := 0
			w.answer(func(host string) int {
				if host != "" {
					n++
				}
				return map[bool]int{true: 500, false: 200}[n == 1]
			})
		}, []string{"/1", "/2"}, []string{"a@m.test", "b@m.test"}, "3 taken", false},
		{"TLS-49 mail is refused for good, https is not", func(w *world) {
			w.refuse = func(*queue.Message) error { return temporary(false) }
		}, []string{"/1", "/2"}, nil, "2 taken", false},
		{"TLS-49 mail is refused for now", func(w *world) {
			n := 0
			w.refuse = func(*queue.Message) error {
				if n++; n <= 2 {
					return temporary(true)
				}
				return nil
			}
		}, []string{"/1", "/2"}, []string{"a@m.test", "b@m.test"}, "4 taken", false},
		{"TLS-49 mail was taken before a crash", func(w *world) {
			w.refuse = func(*queue.Message) error { return queue.ErrDuplicate }
		}, []string{"/1", "/2"}, nil, "4 taken", false},
		{"TLS-47 nobody signs mail any more", nil, []string{"/1", "/2"}, nil, "2 taken", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, webZone, func(t *testing.T, w *world) {
				if test.set != nil {
					test.set(w)
				}
				r := w.reporter()
				result := ""
				r.Trace = &tlsrpt.Trace{Done: func(d tlsrpt.Delivery) { w.locked(func() { result += fmt.Sprintf("%d taken", len(d.Taken)) }) }}
				w.run(r)
				synctest.Wait()
				if test.unsigned {
					w.locked(func() { w.unsigned = true })
				}
				r.Counts.Add("both.test", &tlsrpt.Policy{})
				until(3, 0)
				var paths []string
				for _, p := range w.reports() {
					paths = append(paths, strings.TrimPrefix(p.url, "POST https://r.test"))
				}
				w.mu.Lock()
				got := result
				w.mu.Unlock()
				if !slices.Equal(paths, test.posts) || !slices.Equal(w.mailed(), test.mails) || got != test.result {
					t.Errorf("posts are %q, mails %q, and in the end it has %s", paths, w.mailed(), got)
				}
			})
		})
	}
}

// temporary is an error that says whether it is.
type temporary bool

func (t temporary) Error() string   { return "refused" }
func (t temporary) Temporary() bool { return bool(t) }

func TestReportsAreTriedAgainForADay(t *testing.T) {
	for _, test := range []struct {
		name   string
		status func(attempt int) int
		want   string // the waits
		taken  bool
	}{
		{"201", func(int) int { return 201 }, "", true},
		{"204", func(int) int { return 204 }, "", true},
		{"500 twice", func(n int) int { return map[bool]int{true: 500, false: 200}[n <= 2] }, "10m0s 20m0s", true},
		{"a redirection, which is not followed", func(n int) int { return map[bool]int{true: 302, false: 200}[n == 1] }, "10m0s", true},
		{"503 for ever", func(int) int { return 503 }, "10m0s 20m0s 40m0s 1h20m0s 2h40m0s 5h20m0s 8h0m0s 5h30m0s", false},
	} {
		t.Run("TLS-49 "+test.name, func(t *testing.T) {
			bubble(t, webZone, func(t *testing.T, w *world) {
				n := 0
				w.answer(func(host string) int {
					if host != "" {
						n++
					}
					return test.status(n)
				})
				r := w.reporter()
				var done []tlsrpt.Delivery
				r.Trace = &tlsrpt.Trace{Done: func(d tlsrpt.Delivery) { w.locked(func() { done = append(done, d) }) }}
				w.run(r)
				r.Counts.Add("e.test", &tlsrpt.Policy{})
				until(5, 0)
				var waits []string
				for i := range w.reports()[1:] {
					waits = append(waits, w.reports()[i+1].at.Sub(w.reports()[i].at).Round(time.Minute).String())
				}
				if got := strings.Join(waits, " "); got != test.want {
					t.Errorf("the waits are %s, want %s", got, test.want)
				}
				if len(done) != 1 || !done[0].Done || (len(done[0].Taken) == 1) != test.taken || done[0].Attempts != len(w.reports()) {
					t.Errorf("in the end it is %+v", done)
				}
				for _, p := range w.reports() {
					if p.report.ReportID != w.reports()[0].report.ReportID {
						t.Errorf("the id changes: %q", p.report.ReportID)
					}
				}
			})
		})
	}
}

// One host has a thousand domains and does not answer. It costs others nothing, and not a
// minute for each.
func TestADeadHostHoldsUpNobody(t *testing.T) {
	zone := "dead.test A 203.0.113.1\nr.test A 203.0.113.2\n_smtp._tls.e.test TXT \"v=TLSRPTv1; rua=https://r.test/\"\n"
	for i := range 500 {
		zone += fmt.Sprintf("_smtp._tls.d%d.test TXT \"v=TLSRPTv1; rua=https://dead.test/\"\n", i)
	}
	bubble(t, zone, func(t *testing.T, w *world) {
		r := w.reporter()
		down := true
		r.Poster.Dial = dialer(w, func(address string) bool { return down && address == "203.0.113.1:443" })
		w.run(r)
		for i := range 500 {
			r.Counts.Add(fmt.Sprintf("d%d.test", i), &tlsrpt.Policy{})
		}
		r.Counts.Add("e.test", &tlsrpt.Policy{})
		until(1, 5*time.Hour)
		if got := w.received(); !slices.Equal(got, []string{"POST https://r.test/"}) {
			t.Errorf("posts are %q", got)
		}
		// A try takes 30 s for its address, and the host is left alone for 5 minutes.
		if n := w.dials(); n > 5*60/5*17 {
			t.Errorf("the dead host was tried %d times", n)
		}
		w.locked(func() { down = false })
		until(2, 5*time.Hour)
		if got := len(w.received()); got != 501 {
			t.Errorf("%d reports after it came back", got)
		}
	})
}

// dialer is w.Dial where some addresses do not answer.
func dialer(w *world, dead func(address string) bool) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		w.mu.Lock()
		is := dead(address)
		if is {
			w.dialed = append(w.dialed, address)
		}
		w.mu.Unlock()
		if is {
			<-ctx.Done()
			return nil, errors.New("no answer from " + address)
		}
		return w.Dial(ctx, network, address)
	}
}

func TestOneReportHoweverManyAgents(t *testing.T) {
	stores := map[string]func(t *testing.T) tlsrpt.Store{
		"in memory":      func(*testing.T) tlsrpt.Store { return &tlsrpt.Memory{} },
		"in a directory": func(t *testing.T) tlsrpt.Store { return &tlsrpt.Dir{Path: t.TempDir()} },
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			bubble(t, webZone, func(t *testing.T, w *world) {
				store := open(t)
				var all []*tlsrpt.Reporter
				for range 4 {
					r := w.reporter()
					r.Store = store
					all = append(all, r)
				}
				w.run(all...)
				for i, r := range all {
					for range i + 1 {
						r.Counts.Add("e.test", stsPolicy("e.test"))
					}
					r.Counts.Add("f.test", &tlsrpt.Policy{})
				}
				time.Sleep(2 * time.Minute)
				for _, r := range all {
					if got, err := r.Tallies(t.Context(), today()); err != nil || lines(got) != "e.test sts e.test: 10 ok, 0 failed\nf.test no-policy-found f.test: 4 ok, 0 failed\n" {
						t.Errorf("counted by all is %s, %v", lines(got), err)
					}
				}
				until(4, 0)
				if len(w.reports()) != 1 || len(w.letters()) != 1 || sessions(w.reports()[0].report) != "2000-01-01 sts e.test 10/0" {
					t.Errorf("there are %d posts and %d mails: %v", len(w.reports()), len(w.letters()), w.reports())
				}
			})
		})
	}
}

func TestRestartsAndKills(t *testing.T) {
	bubble(t, webZone, func(t *testing.T, w *world) {
		dir := t.TempDir()
		open := func() *tlsrpt.Reporter {
			r := w.reporter()
			r.Store = &tlsrpt.Dir{Path: dir}
			return r
		}
		count := func(r *tlsrpt.Reporter, n int) {
			for range n {
				r.Counts.Add("e.test", stsPolicy("e.test"))
			}
		}
		// A restart in good order loses nothing.
		first := open()
		stop := w.run(first)
		count(first, 1)
		stop()
		// A kill loses what was not saved: at most a minute's.
		killed := open()
		w.run(killed)
		count(killed, 10)
		time.Sleep(61 * time.Second)
		count(killed, 100)
		// Nobody says goodbye: whoever comes next sees what is in the directory.
		third := open()
		if got, err := third.Tallies(t.Context(), today()); err != nil || lines(got) != "e.test sts e.test: 11 ok, 0 failed\n" {
			t.Errorf("after a kill there is %s, %v", lines(got), err)
		}
	})
	bubble(t, webZone, func(t *testing.T, w *world) {
		dir := t.TempDir()
		open := func() *tlsrpt.Reporter {
			r := w.reporter()
			r.Store = &tlsrpt.Dir{Path: dir}
			return r
		}
		r := open()
		stop := w.run(r)
		r.Counts.Add("e.test", stsPolicy("e.test"))
		r.Counts.Add("both.test", &tlsrpt.Policy{})
		until(0, 12*time.Hour)
		stop()
		// Nobody is there for a day and a half; then the report is sent all the same.
		until(2, 6*time.Hour)
		w.answerAll(500)
		r = open()
		stop = w.run(r)
		until(2, 7*time.Hour)
		before := len(w.reports())
		if before < 6 || len(w.letters()) != 2 {
			t.Errorf("after an outage there are %d posts and %d mails", before, len(w.letters()))
		}
		stop()
		// Another takes over: mail has been taken, and is not sent again; the waits go on.
		r = open()
		stop = w.run(r)
		until(2, 8*time.Hour)
		if more := len(w.reports()) - before; more > 6 || len(w.letters()) != 2 {
			t.Errorf("after a restart there are %d more posts and %d mails", more, len(w.letters()))
		}
		w.answerAll(200)
		until(4, 0)
		stop()
		var done []string
		r = open()
		r.Trace = &tlsrpt.Trace{Done: func(d tlsrpt.Delivery) { w.locked(func() { done = append(done, d.Domain) }) }}
		before = len(w.reports())
		w.run(r)
		until(6, 0)
		if len(w.reports()) != before || len(done) != 0 {
			t.Errorf("what is done is done again: %d more posts, %q", len(w.reports())-before, done)
		}
	})
}

// Whoever was killed in the middle of a report is followed by another when its time is over.
func TestAReportThatWasClaimedByOneWhoDied(t *testing.T) {
	bubble(t, webZone, func(t *testing.T, w *world) {
		r := w.reporter()
		store := &tlsrpt.Memory{}
		r.Store = store
		day := today()
		claim := tlsrpt.Delivery{Day: day, Domain: "e.test", Revision: 1, Until: (day + 1).Start().Add(9 * time.Hour), First: (day + 1).Start(), Attempts: 1}
		if _, ok, err := store.Update(t.Context(), claim); !ok || err != nil {
			t.Fatal(ok, err)
		}
		w.run(r)
		r.Counts.Add("e.test", stsPolicy("e.test"))
		until(1, 9*time.Hour-time.Second)
		if len(w.reports()) != 0 {
			t.Error("it is sent while another is at work")
		}
		until(1, 10*time.Hour)
		if len(w.reports()) != 1 {
			t.Errorf("there are %d posts", len(w.reports()))
		}
	})
}

func TestDNSThatDoesNotAnswer(t *testing.T) {
	bubble(t, webZone, func(t *testing.T, w *world) {
		r := w.reporter()
		var notAsked []string
		r.Trace = &tlsrpt.Trace{NotAsked: func(day tlsrpt.Day, domain string, err error) {
			w.locked(func() { notAsked = append(notAsked, fmt.Sprintf("%v %s", day, domain)) })
		}}
		w.run(r)
		r.Counts.Add("e.test", stsPolicy("e.test"))
		r.Counts.Add("f.test", stsPolicy("f.test"))
		for _, name := range []string{"_smtp._tls.e.test", "_smtp._tls.f.test"} {
			if err := w.Set(mxtest.Rule{Name: name, Fault: mxtest.ServFail}); err != nil {
				t.Fatal(err)
			}
		}
		until(1, 12*time.Hour)
		if err := w.Set(mxtest.Rule{Name: "_smtp._tls.e.test"}); err != nil {
			t.Fatal(err)
		}
		until(4, 0)
		if len(w.reports()) != 1 || len(w.letters()) != 0 || !slices.Equal(notAsked, []string{"2000-01-01 f.test"}) {
			t.Errorf("there are %d posts and %d mails; not asked for: %q", len(w.reports()), len(w.letters()), notAsked)
		}
		if n := len(w.Queries()); n > 40 {
			t.Errorf("%d questions", n)
		}
	})
}

// A store that fails costs nothing but time.
func TestAStoreThatFails(t *testing.T) {
	bubble(t, webZone, func(t *testing.T, w *world) {
		r := w.reporter()
		store := &failing{}
		store.broken.Store(true)
		r.Store = store
		failures := 0
		r.Trace = &tlsrpt.Trace{StoreFailed: func(err error) {
			if !errors.Is(err, errBroken) {
				t.Error(err)
			}
			w.locked(func() { failures++ })
		}}
		w.run(r)
		r.Counts.Add("e.test", stsPolicy("e.test"))
		until(1, 6*time.Hour)
		if failures < 30*60 || len(w.reports()) != 0 {
			t.Errorf("%d failures, %d posts", failures, len(w.reports()))
		}
		store.broken.Store(false)
		until(1, 12*time.Hour)
		if len(w.reports()) != 1 || sessions(w.reports()[0].report) != "2000-01-01 sts e.test 1/0" {
			t.Errorf("posts are %v", w.reports())
		}
	})
}

var errBroken = errors.New("broken")

// failing is a Store that may fail.
type failing struct {
	tlsrpt.Memory
	broken atomic.Bool
}

func (f *failing) Save(ctx context.Context, day tlsrpt.Day, counter string, tallies []tlsrpt.Tally) error {
	if f.broken.Load() {
		return errBroken
	}
	return f.Memory.Save(ctx, day, counter, tallies)
}

func (f *failing) Update(ctx context.Context, d tlsrpt.Delivery) (tlsrpt.Delivery, bool, error) {
	if f.broken.Load() {
		return tlsrpt.Delivery{}, false, errBroken
	}
	return f.Memory.Update(ctx, d)
}

func TestValidate(t *testing.T) {
	w := &world{DNS: &mxtest.DNS{}, unsigned: true}
	r := tlsrpt.Reporter{
		Submitter: tlsrpt.Submitter{Contact: "tls@[192.0.2.1]"}, Store: &tlsrpt.Dir{}, Mail: w, Spread: 21 * time.Hour, SaveEvery: -1, MaxPerTarget: -1,
	}
	err := fmt.Sprint(r.Validate())
	for _, field := range []string{"Counts", "Submitter", "Resolver", "Store", "Mail", "Spread", "SaveEvery", "MaxPerTarget"} {
		if !strings.Contains(err, "tlsrpt.Reporter."+field+": ") {
			t.Errorf("%s is not named: %s", field, err)
		}
	}
	if err := r.Run(t.Context()); err == nil {
		t.Error("it runs all the same")
	}
	t.Run("TLS-47 mail that nobody signs is not sent", func(t *testing.T) {
		r := w.reporter()
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), "DKIM") {
			t.Errorf("error is %v", err)
		}
		r.SignedLater = true
		if err := r.Validate(); err != nil {
			t.Error(err)
		}
	})
}
