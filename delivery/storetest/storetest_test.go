package storetest_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/storetest"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/delivery/trust"
)

func TestPolicies(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) mtasts.Store{
		"memory":      func(*testing.T) mtasts.Store { return &mtasts.Memory{} },
		"a directory": func(t *testing.T) mtasts.Store { return &mtasts.Dir{Path: filepath.Join(t.TempDir(), "a", "b")} },
	} {
		t.Run(name, func(t *testing.T) { storetest.RunPolicies(t, open) })
	}
}

func TestReports(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) tlsrpt.Store{
		"memory":      func(*testing.T) tlsrpt.Store { return &tlsrpt.Memory{} },
		"a directory": func(t *testing.T) tlsrpt.Store { return &tlsrpt.Dir{Path: filepath.Join(t.TempDir(), "a", "b")} },
	} {
		t.Run(name, func(t *testing.T) { storetest.RunReports(t, open) })
	}
}

// policies is a store in memory that breaks a rule.
type policies struct {
	mtasts.Memory
	load   func(e mtasts.Entry) (mtasts.Entry, error)
	list   func(all []mtasts.Entry) []mtasts.Entry
	stays  bool // what is deleted
	misses error
}

func (p *policies) Load(ctx context.Context, domain string) (mtasts.Entry, error) {
	e, err := p.Memory.Load(ctx, domain)
	if err == nil && p.load != nil {
		return p.load(e)
	}
	return e, err
}

func (p *policies) List(ctx context.Context, after string, limit int) ([]mtasts.Entry, error) {
	all, err := p.Memory.List(ctx, after, limit)
	if p.list != nil {
		all = p.list(all)
	}
	return all, err
}

func (p *policies) Delete(ctx context.Context, domain string) error {
	if e, _ := p.Memory.Load(ctx, domain); e.Domain == "" {
		return p.misses
	}
	if p.stays {
		return nil
	}
	return p.Memory.Delete(ctx, domain)
}

// TestPoliciesNotices tries stores of which each breaks one rule.
func TestPoliciesNotices(t *testing.T) {
	broken := errors.New("broken")
	for rule, p := range map[string]func() *policies{
		"what is not there is no error": func() *policies { return &policies{misses: broken} },
		"Load returns what was saved last": func() *policies {
			return &policies{load: func(e mtasts.Entry) (mtasts.Entry, error) { e.Policy.Notes = nil; return e, nil }}
		},
		"List returns pages in the order of the domains": func() *policies {
			return &policies{list: func(all []mtasts.Entry) []mtasts.Entry {
				if len(all) > 1 {
					all[0], all[1] = all[1], all[0]
				}
				return all
			}}
		},
		"Delete removes one domain": func() *policies { return &policies{stays: true} },
		"many may use it at once": func() *policies {
			return &policies{load: func(e mtasts.Entry) (mtasts.Entry, error) {
				if e.ID == "7" {
					return mtasts.Entry{}, nil
				}
				return e, nil
			}}
		},
	} {
		err := storetest.Policies(t.Context(), func() (mtasts.Store, error) { return p(), nil })
		if err == nil || !strings.Contains(err.Error(), rule) {
			t.Errorf("of a store that breaks %q it says %v", rule, err)
		}
	}
	if err := storetest.Policies(t.Context(), func() (mtasts.Store, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("of a store that cannot be opened it says %v", err)
	}
}

// reports is a store in memory that breaks a rule.
type reports struct {
	tlsrpt.Memory
	counter func(string) string
	load    func([]tlsrpt.Tally) []tlsrpt.Tally
	update  func(d *tlsrpt.Delivery)
	forget  tlsrpt.Day
	mu      sync.Mutex
	last    map[string]tlsrpt.Delivery // shared with the caller, if there is one
}

func (r *reports) Save(ctx context.Context, day tlsrpt.Day, counter string, all []tlsrpt.Tally) error {
	if r.counter != nil {
		counter = r.counter(counter)
	}
	return r.Memory.Save(ctx, day, counter, all)
}

func (r *reports) Load(ctx context.Context, day tlsrpt.Day) ([]tlsrpt.Tally, error) {
	all, err := r.Memory.Load(ctx, day)
	if r.load != nil {
		all = r.load(all)
	}
	return all, err
}

func (r *reports) Update(ctx context.Context, d tlsrpt.Delivery) (tlsrpt.Delivery, bool, error) {
	if r.update != nil {
		r.update(&d)
	}
	now, stored, err := r.Memory.Update(ctx, d)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last != nil {
		if stored {
			r.last[d.Domain] = d
		} else if shared, ok := r.last[d.Domain]; ok {
			now = shared
		}
	}
	return now, stored, err
}

func (r *reports) Forget(ctx context.Context, before tlsrpt.Day) error {
	return r.Memory.Forget(ctx, before+r.forget)
}

// TestReportsNotices tries stores of which each breaks one rule.
func TestReportsNotices(t *testing.T) {
	for rule, r := range map[string]func() *reports{
		"Save takes the place of what that Counts saved before for that day": func() *reports {
			return &reports{counter: func(string) string { return "one" }}
		},
		"Load returns what was saved": func() *reports {
			return &reports{load: func(all []tlsrpt.Tally) []tlsrpt.Tally {
				for i := range all {
					all[i].Details = nil
				}
				return all
			}}
		},
		"Update stores the next revision alone": func() *reports {
			return &reports{update: func(d *tlsrpt.Delivery) { d.Revision = min(d.Revision, 2) }}
		},
		"Update keeps days and domains apart": func() *reports {
			return &reports{update: func(d *tlsrpt.Delivery) { d.Domain = strings.TrimSuffix(d.Domain, ".1") }}
		},
		"of several who try the same revision one succeeds": func() *reports {
			return &reports{update: func(d *tlsrpt.Delivery) {
				if d.Attempts > 0 {
					d.Revision++
				}
			}}
		},
		"Forget removes days before one": func() *reports { return &reports{forget: 1} },
		"nothing is shared with the caller": func() *reports {
			return &reports{last: make(map[string]tlsrpt.Delivery)}
		},
	} {
		err := storetest.Reports(t.Context(), func() (tlsrpt.Store, error) { return r(), nil })
		if err == nil || !strings.Contains(err.Error(), rule) {
			t.Errorf("of a store that breaks %q it says %v", rule, err)
		}
	}
}

// proofs is a store in memory that breaks a rule.
type proofs struct {
	trust.ProofMemory
	key    func(of trust.ProofKey) trust.ProofKey
	load   func(p trust.Proof) (trust.Proof, error)
	delete func(of trust.ProofKey) error
	late   time.Duration // how much too early what is forgotten may be
}

func (p *proofs) Load(ctx context.Context, of trust.ProofKey) (trust.Proof, error) {
	one, err := p.ProofMemory.Load(ctx, of)
	if p.load != nil {
		return p.load(one)
	}
	return one, err
}

func (p *proofs) Save(ctx context.Context, one trust.Proof) error {
	if p.key != nil {
		one.ProofKey = p.key(one.ProofKey)
	}
	return p.ProofMemory.Save(ctx, one)
}

func (p *proofs) Delete(ctx context.Context, of trust.ProofKey) error {
	if p.delete != nil {
		return p.delete(of)
	}
	return p.ProofMemory.Delete(ctx, of)
}

func (p *proofs) Forget(ctx context.Context, before time.Time) error {
	return p.ProofMemory.Forget(ctx, before.Add(p.late))
}

// TestProofsNotices tries stores of which each breaks one rule.
func TestProofsNotices(t *testing.T) {
	broken := errors.New("broken")
	for rule, p := range map[string]func() *proofs{
		"a proof that is not there is no error": func() *proofs {
			return &proofs{delete: func(trust.ProofKey) error { return broken }}
		},
		"Load returns the proof last saved for a key": func() *proofs {
			return &proofs{key: func(of trust.ProofKey) trust.ProofKey { of.Domain += of.Host; of.Host = ""; return of }}
		},
		"Delete removes the proof for a key":       func() *proofs { return &proofs{delete: func(trust.ProofKey) error { return nil }} },
		"Forget removes proofs from before a time": func() *proofs { return &proofs{late: time.Second} },
		"many may use the proofs at once": func() *proofs {
			return &proofs{load: func(p trust.Proof) (trust.Proof, error) {
				if p.At.Second() == 12 {
					return trust.Proof{}, nil
				}
				return p, nil
			}}
		},
	} {
		err := storetest.Proofs(t.Context(), func() (trust.ProofStore, error) { return p(), nil })
		if err == nil || !strings.Contains(err.Error(), rule) {
			t.Errorf("of a store that breaks %q it says %v", rule, err)
		}
	}
}
