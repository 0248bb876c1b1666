package trust_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/storetest"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestProofStores holds each ProofStore to its contract.
func TestProofStores(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) trust.ProofStore{
		"memory":    func(*testing.T) trust.ProofStore { return &trust.ProofMemory{} },
		"directory": func(t *testing.T) trust.ProofStore { return &trust.ProofDir{Path: filepath.Join(t.TempDir(), "new")} },
	} {
		t.Run(name, func(t *testing.T) { storetest.RunProofs(t, open) })
	}
}

// TestProofMemoryIsBounded: past the bound the oldest go.
func TestProofMemoryIsBounded(t *testing.T) {
	m, now := &trust.ProofMemory{MaxProofs: 100}, time.Now()
	key := func(i int) trust.ProofKey { return trust.ProofKey{Domain: fmt.Sprintf("d%d.test", i), By: "mta-sts"} }
	for i := range 1000 {
		_ = m.Save(t.Context(), trust.Proof{ProofKey: key(i), At: now.Add(time.Duration(i) * time.Second)})
	}
	n := 0
	for i := range 1000 {
		if p, _ := m.Load(t.Context(), key(i)); p.By != "" {
			if n++; i < 899 {
				t.Errorf("%v is still there", p)
			}
		}
	}
	if n < 90 || n > 100 {
		t.Errorf("%d are kept", n)
	}
}

// TestProofDirIsShared: what one process stores another sees within ten seconds; a damaged
// file is a proof still.
func TestProofDirIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		one, other := &trust.ProofDir{Path: dir}, &trust.ProofDir{Path: dir}
		of := trust.ProofKey{Domain: "a.test", Host: "mx.test", By: "dane"}
		there := func(s *trust.ProofDir) bool {
			p, err := s.Load(t.Context(), of)
			if err != nil {
				t.Error(err)
			}
			return p.By != ""
		}
		if there(other) {
			t.Error("it is there before it is saved")
		}
		if err := one.Save(t.Context(), trust.Proof{ProofKey: of, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Second)
		if !there(one) || !there(other) {
			t.Error("the other does not see it")
		}
		if err := other.Delete(t.Context(), of); err != nil {
			t.Fatal(err)
		}
		if pass(10 * time.Second); there(one) || there(other) {
			t.Error("it is still there")
		}
		_ = one.Save(t.Context(), trust.Proof{ProofKey: of, At: time.Now()})
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		if len(files) != 1 {
			t.Fatalf("files %q", files)
		}
		for _, text := range []string{"", "{", `{"version":2,"domain":"a.test","host":"mx.test","by":"dane"}`, `{"version":1,"domain":"b.test","host":"mx.test","by":"dane"}`} {
			if err := os.WriteFile(files[0], []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if pass(10 * time.Second); !there(other) {
				t.Errorf("%q, in a file that says of what it is, is no proof", text)
			}
		}
		_ = os.WriteFile(filepath.Join(dir, ".proof-1"), nil, 0o600)
		_ = os.WriteFile(filepath.Join(dir, "mta-sts.a.test.json"), nil, 0o600)
		late := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
		if err := one.Forget(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		if files, _ = filepath.Glob(filepath.Join(dir, "*.json")); len(files) != 1 || !strings.Contains(files[0], "mta-sts") {
			t.Errorf("files %q, want those of others alone", files)
		}
	})
	t.Run("a directory that cannot be used", func(t *testing.T) {
		none := &trust.ProofDir{}
		file := filepath.Join(t.TempDir(), "file")
		_ = os.WriteFile(file, nil, 0o600)
		bad := &trust.ProofDir{Path: filepath.Join(file, "below")}
		of := trust.ProofKey{Domain: "a.test", By: "dane"}
		for _, s := range []*trust.ProofDir{none, bad} {
			_, err := s.Load(t.Context(), of)
			if err == nil || s.Save(t.Context(), trust.Proof{ProofKey: of}) == nil || s.Delete(t.Context(), of) == nil || s.Forget(t.Context(), time.Now()) == nil {
				t.Errorf("%q: no error (%v)", s.Path, err)
			}
		}
	})
}

// restart has another process go on: nothing is in memory, and proofs are in a directory.
func (w *world) restart(dir string, change func(s *trust.Source)) {
	w.t.Helper()
	w.sender.Close()
	fetcher := &mtasts.Fetcher{Resolver: w.net, Dial: w.net.DialContext, Roots: w.ca.Pool()}
	w.source = &trust.Source{
		Resolver: w.net, MTASTS: &mtasts.Source{Resolver: w.net, Fetcher: fetcher}, Proofs: &trust.ProofDir{Path: dir}, Notice: w.source.Notice,
	}
	if change != nil {
		change(w.source)
	}
	w.sender = &delivery.Sender{
		Hello: "from.test", Resolver: w.net, Dial: w.net.DialContext, Policy: w.source, TLSConfig: w.ca.ClientConfig(), Router: w.sender.Router,
	}
}

// noticed are the reasons of the notices.
func (w *world) noticed() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var reasons []string
	for _, n := range w.notices {
		reasons = append(reasons, n.Reason)
	}
	return strings.Join(reasons, " ")
}

const lost = "no-longer-authenticated"

// TestRatchetOutlivesTheProgram: a host that was authenticated is remembered by the next
// process, and by another one that shares the directory, and told of once by all of them.
func TestRatchetOutlivesTheProgram(t *testing.T) {
	for _, c := range []struct {
		ratchet trust.Ratchet
		outcome queue.Outcome
		tls     string
	}{{trust.Tell, queue.Delivered, "encrypted"}, {trust.Refuse, queue.Deferred, "none"}} {
		for _, by := range []string{"dane", "mta-sts"} {
			t.Run(c.ratchet.String()+", "+by, func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					cert := w.certificate("mx1.e.test")
					w.host("mx1.e.test", cert)
					w.web.set("e.test", "enforce", "mx1.e.test")
					proof := "_25._tcp.mx1 60 " + tlsa(cert)
					if by == "mta-sts" {
						w.net.Signed["."] = false
						proof = sts("e.test", "1")
					}
					w.start(oneMX, proof)
					dir := t.TempDir()
					begin := func() { w.restart(dir, func(s *trust.Source) { s.Ratchet = c.ratchet }) }
					begin()
					check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", by, "")
					lose := func() {
						if by == "dane" {
							w.net.DNS().SetSigned("e.test", false)
						} else {
							w.zone(oneMX)
						}
					}
					lose()
					for range 2 {
						begin()
						for range 2 {
							check(t, w.send("u@e.test"), c.outcome, "mx1.e.test", c.tls, "")
							pass(time.Minute)
						}
					}
					if got := w.noticed(); got != lost {
						t.Errorf("told of %q, want once", got)
					}
					w.zone(oneMX, proof)
					w.net.DNS().SetSigned("e.test", by == "dane")
					check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", by, "")
					lose()
					begin()
					w.send("u@e.test")
					if got := w.noticed(); got != lost+" "+lost {
						t.Errorf("told of %q, want once more after it was proved again", got)
					}
				})
			})
		}
	}
	t.Run("in the directory of policies, unless another is given", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			cert := w.certificate("mx1.e.test")
			w.host("mx1.e.test", cert)
			w.start(oneMX, "_25._tcp.mx1 60 "+tlsa(cert))
			dir := t.TempDir()
			begin := func() {
				w.restart("", func(s *trust.Source) { s.Proofs, s.MTASTS, s.Store = nil, nil, &mtasts.Dir{Path: dir} })
			}
			begin()
			check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
			w.net.DNS().SetSigned("e.test", false)
			begin()
			check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "encrypted", "")
			if got := w.noticed(); got != lost {
				t.Errorf("told of %q", got)
			}
		})
	})
}

// TestWhatIsNoLoss, and what is: by whatever hosts mail goes, and whoever shares the proofs.
func TestWhatIsNoLoss(t *testing.T) {
	t.Run("insecure MX records that name another host", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			cert := w.certificate("mx1.e.test")
			w.host("mx1.e.test", cert)
			w.host("mx2.e.test", w.certificate("mx2.e.test"))
			w.start(oneMX, "_25._tcp.mx1 60 "+tlsa(cert), "mx2 A 192.0.2.2")
			check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
			w.zone("$ORIGIN e.test.\n@ MX 10 mx2\nmx2 A 192.0.2.2")
			check(t, w.send("u@e.test"), queue.Delivered, "mx2.e.test", "encrypted", "")
			if got := w.noticed(); got != "" {
				t.Errorf("secure MX records name a host without TLSA records: told of %q", got)
			}
			w.net.DNS().SetSigned("e.test", false)
			r := check(t, w.send("u@e.test"), queue.Delivered, "mx2.e.test", "encrypted", "")
			if got := w.noticed(); got != lost || r.Decision.Evidence.(*trust.Evidence).Was != "dane" {
				t.Errorf("insecure ones do: told of %q", got)
			}
		})
	})
	t.Run("a smart host in place of the domain's own hosts", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			cert := w.certificate("mx1.e.test")
			w.host("mx1.e.test", cert)
			w.host("smart.test", w.certificate("smart.test"))
			w.web.set("f.test", "enforce", "mx1.e.test")
			w.start(oneMX, "_25._tcp.mx1 60 "+tlsa(cert), "f.test. MX 10 mx1", sts("f.test", "1"), "smart.test. A 192.0.2.2")
			w.net.DNS().SetSigned("f.test", false)
			w.source.Ratchet = trust.Refuse
			w.restart(t.TempDir(), func(s *trust.Source) { s.Ratchet = trust.Refuse })
			check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
			check(t, w.send("u@f.test"), queue.Delivered, "mx1.e.test", "mta-sts", "")
			dir := w.source.Proofs.(*trust.ProofDir).Path
			w.sender.Router = smartHost{mx.Host{Name: "smart.test", Target: "smart.test", Secure: mx.Insecure, NameSecure: mx.Insecure, Identities: []string{"mail.test"}}}
			w.restart(dir, func(s *trust.Source) { s.Ratchet = trust.Refuse })
			check(t, w.send("u@e.test"), queue.Delivered, "smart.test", "encrypted", "")
			check(t, w.send("u@f.test"), queue.Delivered, "smart.test", "encrypted", "")
			if got := w.noticed(); got != "" {
				t.Errorf("told of %q", got)
			}
		})
	})
	t.Run("an agent without policies leaves the proofs of others alone", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			cert := w.certificate("mx1.e.test")
			w.host("mx1.e.test", cert)
			w.web.set("f.test", "enforce", "mx1.e.test")
			w.start(oneMX, "_25._tcp.mx1 60 "+tlsa(cert), "f.test. MX 10 mx1", sts("f.test", "1"))
			w.net.DNS().SetSigned("f.test", false)
			dir := t.TempDir()
			send := func() { w.send("u@e.test"); w.send("u@f.test") }
			w.restart(dir, nil)
			send()
			w.net.DNS().SetSigned("e.test", false)
			w.zone(oneMX, "f.test. MX 10 mx1")
			w.restart(dir, func(s *trust.Source) { s.NoDANE, s.NoMTASTS, s.MTASTS = true, true, nil })
			send()
			if got := w.noticed(); got != "" {
				t.Errorf("told of %q", got)
			}
			w.restart(dir, nil)
			send()
			if got := w.noticed(); got != lost+" "+lost {
				t.Errorf("told of %q, want both", got)
			}
		})
	})
	t.Run("a store that does not work keeps no mail, and is told of", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			cert := w.certificate("mx1.e.test")
			w.host("mx1.e.test", cert)
			w.start(oneMX, "_25._tcp.mx1 60 "+tlsa(cert))
			w.restart("", func(s *trust.Source) { s.Proofs, s.Ratchet = brokenProofs{}, trust.Refuse })
			check(t, w.send("u@e.test"), queue.Delivered, "mx1.e.test", "dane", "")
			if got := w.noticed(); !strings.Contains(got, "proof-store") {
				t.Errorf("told of %q", got)
			}
		})
	})
	t.Run("proofs that mail has not renewed for half a year are forgotten", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.start(oneMX)
			proofs := &trust.ProofMemory{}
			old, fresh := trust.ProofKey{Domain: "old.test", By: "dane"}, trust.ProofKey{Domain: "fresh.test", By: "dane"}
			_ = proofs.Save(t.Context(), trust.Proof{ProofKey: old, At: time.Now()})
			w.restart("", func(s *trust.Source) { s.Proofs = proofs })
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- w.source.RunTLS(ctx, nil) }()
			pass(100 * 24 * time.Hour)
			_ = proofs.Save(t.Context(), trust.Proof{ProofKey: fresh, At: time.Now()})
			for _, c := range []struct {
				days       int
				old, fresh bool
			}{{79, true, true}, {3, false, true}, {97, false, true}, {3, false, false}} {
				pass(time.Duration(c.days) * 24 * time.Hour)
				a, _ := proofs.Load(ctx, old)
				b, _ := proofs.Load(ctx, fresh)
				if (a.By != "") != c.old || (b.By != "") != c.fresh {
					t.Errorf("after %d days more: %v, %v", c.days, a, b)
				}
			}
			stop()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	})
}

// brokenProofs is a ProofStore that does not work.
type brokenProofs struct{}

func (brokenProofs) Load(context.Context, trust.ProofKey) (trust.Proof, error) {
	return trust.Proof{}, fs.ErrPermission
}
func (brokenProofs) Save(context.Context, trust.Proof) error      { return fs.ErrPermission }
func (brokenProofs) Delete(context.Context, trust.ProofKey) error { return fs.ErrPermission }
func (brokenProofs) Forget(context.Context, time.Time) error      { return fs.ErrPermission }
