package trust_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// faultyPolicies is a store of policies that cannot be read while fails is set.
type faultyPolicies struct {
	mtasts.Memory

	mu    sync.Mutex
	fails error
}

func (f *faultyPolicies) Load(ctx context.Context, domain string) (mtasts.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails != nil {
		return mtasts.Entry{}, f.fails
	}
	return f.Memory.Load(ctx, domain)
}

// forgetful replaces the source by one that has a store of policies, and remembers what
// asks for nothing.
func (w *world) forgetful(store mtasts.Store) {
	fetcher := &mtasts.Fetcher{Resolver: w.net, Dial: w.net.DialContext, Roots: w.ca.Pool()}
	w.restart("", func(s *trust.Source) {
		s.MTASTS.Fetcher, s.MTASTS.Store, s.Proofs, s.Reuse = fetcher, store, nil, 2*time.Second
	})
}

// TestPoliciesThatCannotBeRead: while the store of policies cannot be read, and DNS shows no
// policy, mail waits that a stored policy might keep, and no other.
func TestPoliciesThatCannotBeRead(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(w *world, store *faultyPolicies) // when the policy of e.test is stored already
		zone string
		send func(w *world) *delivery.Report
		want queue.Outcome
		tls  string
	}{
		{name: "DNS shows no policy", want: queue.Deferred, tls: "none"},
		{name: "DNS does not answer", zone: "mta-sts A 203.0.113.1", want: queue.Deferred, tls: "none"},
		{name: "the policy can be fetched", zone: sts("e.test", "2"), want: queue.Delivered, tls: "mta-sts"},
		{name: "the policy host is down", zone: sts("e.test", "2"), set: func(w *world, _ *faultyPolicies) { w.web.setDown(true) }, want: queue.Deferred, tls: "none"},
		{name: "the host has TLSA records", zone: "TLSA", want: queue.Delivered, tls: "dane"},
		{name: "the host has TLSA records of no use", zone: "_25._tcp.mx1 " + unusable, want: queue.Deferred, tls: "none"},
		{name: "a rule of the operator says may", set: func(w *world, _ *faultyPolicies) {
			_ = w.source.SetRules([]trust.Rule{{Match: delivery.Match{Domain: "e.test"}, Level: trust.May}})
		}, want: queue.Delivered, tls: "encrypted"},
		{name: "a rule of the operator says verify", set: func(w *world, _ *faultyPolicies) {
			_ = w.source.SetRules([]trust.Rule{{Match: delivery.Match{Domain: "e.test"}, Level: trust.Verify}})
		}, want: queue.Deferred, tls: "none"},
		{name: "policies are only watched", set: func(w *world, _ *faultyPolicies) { w.source.Audit = true }, want: queue.Delivered, tls: "encrypted"},
		{name: "the mail has TLS-Required: No", send: func(w *world) *delivery.Report { return w.sendMessage(optional("u@e.test")) }, want: queue.Delivered, tls: "encrypted"},
		{name: "the entry is damaged", set: func(_ *world, store *faultyPolicies) { store.fails = mtasts.ErrDamaged }, zone: "mta-sts A 203.0.113.1", want: queue.Delivered, tls: "mta-sts"},
		{name: "the entry is damaged, and the policy host is down", set: func(w *world, store *faultyPolicies) {
			store.fails = mtasts.ErrDamaged
			w.web.setDown(true)
		}, want: queue.Deferred, tls: "none"},
	} {
		t.Run("TLS-17 "+c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				cert := w.certificate("mx1.e.test")
				h := w.host("mx1.e.test", cert)
				w.web.set("e.test", "enforce", "mx1.e.test")
				w.start(oneMX, sts("e.test", "1"))
				store := &faultyPolicies{}
				w.source.MTASTS.Store = store
				w.send("u@e.test")
				before := mails(h)
				store.fails = syscall.EMFILE
				if c.zone == "TLSA" {
					c.zone = "_25._tcp.mx1 " + tlsa(cert)
				}
				w.forgetful(store)
				w.zone(oneMX, c.zone)
				if c.set != nil {
					c.set(w, store)
				}
				if c.send == nil {
					c.send = func(w *world) *delivery.Report { return w.send("u@e.test") }
				}
				r := check(t, c.send(w), c.want, "mx1.e.test", c.tls, "")
				if c.want == queue.Deferred {
					held(t, w, r, store.fails, mails(h)-before)
				}
				store.fails = nil
				w.web.setDown(false)
				if c.want == queue.Deferred && c.tls == "none" && !strings.Contains(c.name, "verify") {
					check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "mta-sts", "") // by the stored policy
				}
			})
		})
	}
	t.Run("TLS-17 an agent sends what has waited once the store can be read", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.start(oneMX)
			store := &faultyPolicies{fails: syscall.EIO}
			w.forgetful(store)
			o, stop := w.run(delivery.Settings{Schedule: delivery.Delays{10 * time.Minute}, Jitter: -1})
			defer stop()
			for range 20 {
				o.submit("u@e.test")
			}
			pass(3*time.Hour - time.Minute)
			store.mu.Lock()
			store.fails = nil
			store.mu.Unlock()
			if n := len(o.of(delivery.Delivered)); n != 0 {
				t.Errorf("%d are delivered", n)
			}
			if d := o.of(delivery.Deferred)[0].Decision; d == nil || d.Reason != "policy-store" || d.Fault != delivery.FaultOurs {
				t.Errorf("deferred by %v", d)
			}
			told := 0
			for _, e := range o.of(delivery.PolicyNotice) {
				var n *delivery.TLSNotice
				if errors.As(e.Err, &n) && n.Reason == "policy-store" {
					told++
				}
			}
			if told != 3 {
				t.Errorf("there is notice %d times, want one each hour", told)
			}
			pass(time.Hour)
			if n := len(o.of(delivery.Delivered)); n != 20 {
				t.Errorf("%d are delivered", n)
			}
		})
	})
	t.Run("TLS-17 one damaged file holds back mail to its own domain", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.host("mx1.f.test", w.certificate("mx1.f.test"))
			w.start(oneMX, "f.test. MX 10 mx1.f.test.", "mx1.f.test. A 192.0.2.9")
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "mta-sts.e.test.json"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			w.forgetful(&mtasts.Dir{Path: dir})
			check(t, w.send("u@f.test"), queue.Delivered, "mx1.f.test", "encrypted", "")
			check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.notices) != 1 || w.notices[0].Domain != "e.test" || !strings.Contains(w.notices[0].Error(), dir) {
				t.Errorf("notices %v, want one of e.test that names the file", w.notices)
			}
		})
	})
}

// TestNoticeOfDamagedPolicies: an agent that finds damaged files as it renews policies says
// what waits for these, and that all mail waits if the store does not work at all.
func TestNoticeOfDamagedPolicies(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host("mx1.e.test", w.certificate("mx1.e.test"))
		w.start(oneMX)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "mta-sts.f.test.json"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		fetcher := &mtasts.Fetcher{Resolver: w.net, Dial: w.net.DialContext, Roots: w.ca.Pool()}
		w.restart("", func(s *trust.Source) {
			s.MTASTS, s.Fetcher, s.Store, s.Proofs = nil, fetcher, &mtasts.Dir{Path: dir}, &trust.ProofMemory{}
		})
		_, stop := w.run(delivery.Settings{})
		defer stop()
		pass(time.Minute)
		all := "to domains for which DNS shows no policy"
		said := func() (text []string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, n := range w.notices {
				text = append(text, n.Error())
			}
			return text
		}
		if got := said(); len(got) != 1 || strings.Contains(got[0], all) || !strings.Contains(got[0], "mta-sts.f.test.json") {
			t.Errorf("TLS-17 of one damaged file there is notice %q", got)
		}
		if err := os.Mkdir(filepath.Join(dir, "mta-sts.e.test.json"), 0o700); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
		if got := said(); len(got) != 2 || !strings.Contains(got[1], all) {
			t.Errorf("TLS-17 once the store fails there is notice %q", got)
		}
	})
}

// TestNoticeOfStoresThatCannotBeWritten: no mail waits for that, and no notice says so.
func TestNoticeOfStoresThatCannotBeWritten(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host("mx1.e.test", w.certificate("mx1.e.test"))
		w.web.set("e.test", "enforce", "mx1.e.test")
		w.start(oneMX, sts("e.test", "1"))
		fetcher := &mtasts.Fetcher{Resolver: w.net, Dial: w.net.DialContext, Roots: w.ca.Pool()}
		w.restart("", func(s *trust.Source) {
			s.MTASTS, s.Fetcher, s.Store, s.Proofs, s.Ratchet = nil, fetcher, &fullPolicies{}, &fullProofs{}, trust.Refuse
		})
		check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "mta-sts", "")
		if got := w.noticed(); got != "policy-store proof-store" {
			t.Errorf("notices %q", got)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, n := range w.notices {
			if !strings.Contains(n.Text, "does not work; while it cannot be read, mail waits ") {
				t.Errorf("TLS-17 the notice %q", n)
			}
		}
	})
}

// fullPolicies and fullProofs are stores without room.
type fullPolicies struct{ mtasts.Memory }

func (*fullPolicies) Save(context.Context, mtasts.Entry) error { return syscall.ENOSPC }

type fullProofs struct{ trust.ProofMemory }

func (*fullProofs) Save(context.Context, trust.Proof) error { return syscall.ENOSPC }

// TestStoresAndCallersThatGiveUp: a store that returns because its caller has given up works.
func TestStoresAndCallersThatGiveUp(t *testing.T) {
	for _, ratchet := range []trust.Ratchet{trust.Tell, trust.Refuse} {
		s := &trust.Source{
			Resolver: &mxtest.DNS{}, NoDANE: true, Proofs: &patientProofs{}, Ratchet: ratchet,
			Notice: func(n *delivery.TLSNotice) { t.Errorf("with the ratchet %v there is notice %v", ratchet, n) },
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _ = s.TLSPolicy(ctx, &mx.Route{Domain: "e.test", Via: mx.ViaMX}, &mx.Host{Name: "mx1.e.test"})
	}
}

// patientProofs is a store that waits until its caller gives up.
type patientProofs struct{ trust.ProofMemory }

func (*patientProofs) Load(ctx context.Context, _ trust.ProofKey) (trust.Proof, error) {
	<-ctx.Done()
	return trust.Proof{}, ctx.Err()
}

// TestUnreadExplained: an explanation says why no mail goes, and who can change that.
func TestUnreadExplained(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
		w.start(oneMX)
		w.forgetful(&faultyPolicies{fails: syscall.EIO})
		for _, connect := range []bool{false, true} {
			explain := w.sender.Explain
			if connect {
				explain = w.sender.ExplainConnect
			}
			e, err := explain(t.Context(), "a@from.test", "e.test")
			if err != nil {
				t.Fatal(err)
			}
			d := e.Policies[0].Decision
			if d == nil {
				t.Fatalf("no decision: %v", e)
			}
			contains(t, e.String(), "no mail for now: it is not known whether an MTA-STS policy of e.test is in force, because the store of policies cannot be read: input/output error")
			contains(t, d.String(), "policy-store, at fault: ours", "it is not known whether a policy is stored: input/output error")
		}
		if mails(h) != 0 {
			t.Error("the host had mail")
		}
	})
}

// held checks what is said of mail that waits for the store.
func held(t *testing.T, w *world, r *delivery.RecipientReport, cause error, mails int) {
	t.Helper()
	d := r.Decision
	if mails != 0 {
		t.Errorf("the host had MAIL %d times", mails)
	}
	if d == nil || d.Accepted || d.Reason != "policy-store" || d.Fault != delivery.FaultOurs || !errors.Is(d.Cause, cause) || r.Reply.Enhanced != "4.7.5" {
		t.Errorf("%v, %s", d, r.Reply.Enhanced)
	}
	if got := w.noticed(); got != "policy-store" {
		t.Errorf("notices %q", got)
	}
}

// TestProofsThatCannotBeRead: with the ratchet Refuse, mail waits while it is not known
// whether its host was authenticated before, unless it must be authenticated now.
func TestProofsThatCannotBeRead(t *testing.T) {
	for _, c := range []struct {
		name    string
		ratchet trust.Ratchet
		zone    string
		audit   bool
		want    queue.Outcome
		tls     string
	}{
		{"refuse", trust.Refuse, "", false, queue.Deferred, "none"},
		{"refuse, and the host has TLSA records", trust.Refuse, "TLSA", false, queue.Delivered, "dane"},
		{"refuse, and a policy names the host", trust.Refuse, sts("e.test", "1"), false, queue.Delivered, "mta-sts"},
		{"refuse, and policies are only watched", trust.Refuse, "", true, queue.Delivered, "encrypted"},
		{"tell", trust.Tell, "", false, queue.Delivered, "encrypted"},
		{"forget", trust.Forget, "", false, queue.Delivered, "encrypted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				cert := w.certificate("mx1.e.test")
				h := w.host("mx1.e.test", cert)
				w.web.set("e.test", "enforce", "mx1.e.test")
				if c.zone == "TLSA" {
					c.zone = "_25._tcp.mx1 " + tlsa(cert)
				}
				w.start(oneMX, c.zone)
				w.restart("", func(s *trust.Source) {
					s.Proofs, s.Ratchet, s.Audit, s.Reuse = brokenProofs{}, c.ratchet, c.audit, time.Minute
				})
				for range 2 {
					r := check(t, w.send("u@e.test"), c.want, "mx1.e.test", c.tls, "")
					if c.want != queue.Deferred {
						continue
					}
					if d := r.Decision; d == nil || d.Reason != "proof-store" || d.Fault != delivery.FaultOurs || mails(h) != 0 {
						t.Errorf("%v, MAIL %d times", d, mails(h))
					}
				}
				want := "proof-store"
				if c.ratchet == trust.Forget {
					want = ""
				}
				if got := w.noticed(); got != want {
					t.Errorf("notices %q, want %q", got, want)
				}
			})
		})
	}
	t.Run("a damaged file still is a proof", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			cert := w.certificate("mx1.e.test")
			w.host("mx1.e.test", cert)
			w.start(oneMX, "_25._tcp.mx1 "+tlsa(cert))
			dir := t.TempDir()
			refuse := func(s *trust.Source) { s.Ratchet = trust.Refuse }
			w.restart(dir, refuse)
			check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
			files, _ := filepath.Glob(filepath.Join(dir, "proof.*"))
			for _, f := range files {
				if err := os.Truncate(f, 0); err != nil {
					t.Fatal(err)
				}
			}
			w.net.DNS().SetSigned(".", false)
			w.zone(oneMX)
			w.restart(dir, refuse)
			r := check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "")
			if d := r.Decision; d == nil || d.Reason != lost {
				t.Errorf("%v, want it to be lost", d)
			}
		})
	})
}
