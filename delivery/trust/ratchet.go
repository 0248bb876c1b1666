package trust

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
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
// usable ones, and MTA-STS by a policy of mode none or testing.
type Ratchet uint8

// The ratchets.
const (
	// Tell sends the mail, and reports it by a notice, once for each domain and host.
	Tell Ratchet = iota
	// Forget sends the mail.
	Forget
	// Refuse holds the mail back, and reports it.
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

// mostProofs bounds what is remembered; past it what was proved longest ago is forgotten.
const mostProofs = 65536

// proofs is what was proved, for the life of the process. Its zero value is ready.
type proofs struct {
	mu    sync.Mutex
	known map[subject]proof
}

// subject is what was proved to be the domain's: a host by DANE, the domain by MTA-STS
// without a host.
type subject struct{ domain, host string }

type proof struct {
	by   string
	at   time.Time
	told bool
}

// look remembers what a decision proves, and looks whether one that proves nothing should.
func (p *proofs) look(c *inquiry, d *delivery.Decision, e *Evidence) {
	s := c.source
	if s.Ratchet == Forget || c.rule.level().fixed() {
		return
	}
	if d.Authenticated {
		at := subject{c.domain, c.host}
		if d.Source == "mta-sts" {
			at.host = ""
		}
		p.note(at, d.Source)
		return
	}
	if !d.Accepted {
		return // no mail goes there as it is
	}
	was, told, found := p.lost(c)
	if !found {
		return
	}
	e.Was = was
	text := "authenticated by " + was + " before, and no more, though that was not withdrawn: " + d.Text
	if s.Ratchet == Refuse {
		c.refuse(d, tlsrpt.ValidationFailure, "no-longer-authenticated", text, nil)
		d.Source = was
	} else {
		d.Text = text
	}
	if !told {
		s.tell(&delivery.TLSNotice{Domain: c.domain, Host: c.host, Reason: "no-longer-authenticated", Text: c.host + " for " + c.domain + " was " + text})
	}
}

// note remembers a proof.
func (p *proofs) note(at subject, by string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = make(map[subject]proof)
	}
	p.known[at] = proof{by: by, at: time.Now()}
	if len(p.known) <= mostProofs {
		return
	}
	// A tenth goes at a time, so that this is rare.
	type aged struct {
		of subject
		at time.Time
	}
	var all []aged
	for of, what := range p.known {
		all = append(all, aged{of, what.at})
	}
	slices.SortFunc(all, func(a, b aged) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.of.domain, b.of.domain)) })
	for _, old := range all[:len(all)-mostProofs+mostProofs/10] {
		delete(p.known, old.of)
	}
}

// lost is what a host, or its domain, was authenticated by though nothing says that it
// need not be now. What was withdrawn is forgotten.
func (p *proofs) lost(c *inquiry) (by string, told, found bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range []subject{{c.domain, c.host}, {c.domain, ""}} {
		was, known := p.known[at]
		if !known {
			continue
		}
		if at.host != "" && c.withdrewDANE() || at.host == "" && c.withdrewSTS() {
			delete(p.known, at)
			continue
		}
		told = was.told
		was.told = true
		p.known[at] = was
		return was.by, told, true
	}
	return "", false, false
}

// withdrewDANE reports whether DNSSEC vouches for that the host has no usable records, or
// whoever runs this program does not want to know.
func (c *inquiry) withdrewDANE() bool {
	p := c.dane
	switch {
	case p == nil || p.Outcome == dane.Unusable:
		return true
	case p.Outcome != dane.None || p.Reason != dane.NoRecords:
		return false
	}
	last := p.Steps[len(p.Steps)-1]
	return last.Security == mx.Secure
}

// withdrewSTS reports whether the domain has said that its policy is not to be enforced.
func (c *inquiry) withdrewSTS() bool {
	return c.sts == nil || c.sts.Policy != nil && !c.sts.Enforced()
}
