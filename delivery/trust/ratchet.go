package trust

import (
	"context"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/internal/age"
	"github.com/nexthop-mail/nexthop/internal/enum"
	"github.com/nexthop-mail/nexthop/mx"
)

// Ratchet says how to treat mail to a host that was authenticated before and is not any
// more, although its domain has not withdrawn that. For DANE, this means that the
// records are not proved absent by DNSSEC, but are no longer secure; for MTA-STS, that
// the policy has expired and was not ended. Both happen by mistake, and both can be
// signs of an attack.
//
// A domain withdraws DANE by a secure answer that there are no TLSA records or no
// usable ones, and MTA-STS by a policy of mode none or testing. If secure MX records name
// other hosts, those need not have TLSA records; if insecure ones do, DANE is lost.
//
// What was authenticated is kept in Source.Proofs, across restarts and for all Sources
// that share it.
type Ratchet uint8

// The ratchets.
const (
	// Tell sends the mail, and reports it by a notice, once for each domain and host.
	Tell Ratchet = iota
	// Forget sends the mail.
	Forget
	// Refuse holds the mail back, and reports it. Mail also waits while Proofs cannot be
	// read, except to hosts that a policy requires to be authenticated anyway.
	Refuse
)

var ratchetNames = [...]string{"tell", "forget", "refuse"}

// String returns tell, forget or refuse.
func (r Ratchet) String() string { return enum.String("trust.Ratchet", ratchetNames[:], r) }

// MarshalText returns the same text as String, for JSON and the like. It fails for a
// value without a name.
func (r Ratchet) MarshalText() ([]byte, error) {
	return enum.Marshal("trust.Ratchet", ratchetNames[:], r)
}

// UnmarshalText reads only the texts that MarshalText writes.
func (r *Ratchet) UnmarshalText(text []byte) error {
	return enum.Unmarshal("trust.Ratchet", ratchetNames[:], r, text)
}

const (
	// proofLasts is how long a proof is remembered if mail does not renew it.
	proofLasts = 180 * 24 * time.Hour
	// proofSaved is how often a proof that goes on is saved.
	proofSaved = 24 * time.Hour
	// proofTime is how long a store may take for one.
	proofTime = 5 * time.Second
)

// ratcheted reports whether proofs of a host are of interest.
func (c *inquiry) ratcheted() bool {
	return c.source.Ratchet != Forget && !c.rule.level().fixed() && !c.rulesAlone
}

// recall looks up what was proved before about the host and the domain.
func (c *inquiry) recall(ctx context.Context) {
	if !c.ratcheted() {
		return
	}
	for _, of := range c.subjects() {
		p, err := c.source.proofs.Load(ctx, of)
		if err != nil {
			if ctx.Err() == nil {
				c.source.proofsFailed(c.domain, err)
			}
			c.unrecalled = err
			return
		}
		if p.By != "" {
			c.before = append(c.before, p)
		}
	}
}

// subjects returns the keys of proofs about the host and the domain that the settings
// in use can make. The domain is proved by DANE only if MX records lead to the host,
// and by MTA-STS only for mail to which its own policy applies, and not that of a smart
// host.
func (c *inquiry) subjects() []ProofKey {
	list := make([]ProofKey, 0, 3)
	if c.dane != nil {
		list = append(list, ProofKey{c.domain, c.host, "dane"})
		if c.evidence.Route == mx.ViaMX.String() {
			list = append(list, ProofKey{c.domain, "", "dane"})
		}
	}
	if c.sts != nil {
		list = append(list, ProofKey{c.policyDomain, "", "mta-sts"})
	}
	return list
}

// look remembers what a decision proves, and checks whether a decision without proof
// should have one.
func (c *inquiry) look(d *delivery.Decision, e *Evidence, h *delivery.Handshake) {
	s := c.source
	if c.isUnrecalled() && !d.Authenticated {
		c.refuse(d, tlsrpt.ValidationFailure, "proof-store",
			"it is not known whether it was authenticated before, because the store of that cannot be read: "+c.unrecalled.Error(), c.unrecalled)
	}
	if h == nil {
		return
	}
	if d.Authenticated {
		for _, of := range c.subjects() {
			if of.By == d.Source {
				c.note(of)
			}
		}
		return
	}
	if !d.Accepted {
		return // no mail goes there as it is
	}
	c.forget()
	was, found := c.lost()
	if !found {
		return
	}
	e.Was = was.By
	text := "authenticated by " + was.By + " before, and no longer, although that was not withdrawn: " + d.Text
	if s.Ratchet == Refuse {
		c.refuse(d, tlsrpt.ValidationFailure, "no-longer-authenticated", text, nil)
		d.Source = was.By
	} else {
		d.Text = text
	}
	if s.tellsOf(was) {
		s.tell(&delivery.TLSNotice{Domain: c.domain, Host: c.host, Reason: "no-longer-authenticated", Text: c.host + " for " + c.domain + " was " + text})
	}
}

// note remembers a proof, unless that is known.
func (c *inquiry) note(of ProofKey) {
	now := time.Now()
	for _, p := range c.before {
		if p.ProofKey == of && p.Told.IsZero() && age.Between(p.At, now) < proofSaved {
			return
		}
	}
	s := c.source
	s.telling.again(of)
	ctx, cancel := context.WithTimeout(context.Background(), proofTime)
	defer cancel()
	if err := s.proofs.Save(ctx, Proof{ProofKey: of, At: now}); err != nil {
		s.proofsFailed(of.Domain, err)
	}
}

// tellsOf reports whether the loss of a proof must still be reported, and remembers
// that it is.
func (s *Source) tellsOf(was Proof) bool {
	if !s.telling.first(was.ProofKey) || !was.Told.IsZero() {
		return false
	}
	was.Told = time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), proofTime)
	defer cancel()
	if err := s.proofs.Save(ctx, was); err != nil {
		s.proofsFailed(was.Domain, err)
	}
	return true
}

// telling are the proofs of whose loss a Source has told. Its zero value is ready.
type telling struct {
	mu   sync.Mutex
	told map[ProofKey]bool
}

// first reports whether the loss has not been reported yet, and records that it is. It
// is for simultaneous connections; the store has the lasting record, so all of it can
// be forgotten.
func (t *telling) first(of ProofKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.told[of] {
		return false
	}
	if t.told == nil || len(t.told) >= defaultProofs {
		t.told = make(map[ProofKey]bool)
	}
	t.told[of] = true
	return true
}

// again makes a further loss be reported.
func (t *telling) again(of ProofKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.told, of)
}

// proofsFailed gives notice that the store does not work. The proofs in it are then
// unknown.
func (s *Source) proofsFailed(domain string, err error) {
	text := "the store of what was authenticated does not work"
	if s.Ratchet == Refuse {
		text += "; while it cannot be read, mail waits whose hosts may have been authenticated before"
	}
	s.tellHourly("", &delivery.TLSNotice{Domain: domain, Reason: "proof-store", Text: text, Err: err})
}

// forgetProofs removes those that mail has not renewed for long, once a day until ctx ends.
func (s *Source) forgetProofs(ctx context.Context) {
	ticker := time.NewTicker(24 * time.Hour)
	defer ticker.Stop()
	for {
		if err := s.proofs.Forget(ctx, time.Now().Add(-proofLasts)); err != nil && ctx.Err() == nil {
			s.proofsFailed("", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// lost returns what authenticated a host or its domain before, if nothing says that it
// need not be authenticated now.
func (c *inquiry) lost() (was Proof, found bool) {
	if c.mustAuthenticate() {
		return Proof{}, false
	}
	for _, p := range c.before {
		if !c.withdrew(p) {
			return p, true
		}
	}
	return Proof{}, false
}

// mustAuthenticate reports whether a policy requires that the host proves to be the
// domain's.
func (c *inquiry) mustAuthenticate() bool {
	return c.dane != nil && c.dane.Outcome == dane.Usable && c.dane.DomainSecure || c.sts != nil && c.stsDecides()
}

// withdrew reports whether the domain has withdrawn a proof, or there is no reason to
// expect it. If the MX records now name other hosts, these need not have TLSA records;
// this is known only while DNSSEC authenticates the MX records.
func (c *inquiry) withdrew(p Proof) bool {
	switch {
	case p.By != "dane":
		return c.withdrewSTS()
	case p.Host == "":
		return c.dane.DomainSecure
	default:
		return c.withdrewDANE()
	}
}

// forget forgets withdrawn proofs. The proof of a domain by DANE also holds for its
// next hosts.
func (c *inquiry) forget() {
	for _, p := range c.before {
		if (p.By != "dane" || p.Host != "") && c.withdrew(p) {
			c.source.removeProof(p.ProofKey)
		}
	}
}

// removeProof removes a proof that was withdrawn.
func (s *Source) removeProof(of ProofKey) {
	ctx, cancel := context.WithTimeout(context.Background(), proofTime)
	defer cancel()
	if err := s.proofs.Delete(ctx, of); err != nil {
		s.proofsFailed(of.Domain, err)
	}
}

// withdrewDANE reports whether DNSSEC proves that the host has no usable records.
func (c *inquiry) withdrewDANE() bool {
	p := c.dane
	switch {
	case p.Outcome == dane.Unusable:
		return true
	case p.Outcome != dane.None || p.Reason != dane.NoRecords:
		return false
	}
	last := p.Steps[len(p.Steps)-1]
	return last.Security == mx.Secure
}

// withdrewSTS reports whether the domain has said that its policy is not to be enforced.
func (c *inquiry) withdrewSTS() bool {
	return c.sts.Policy != nil && !c.sts.Enforced()
}
