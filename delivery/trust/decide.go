package trust

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
)

// inquiry has the facts about one host for one attempt. It does not change after its
// policy was made.
type inquiry struct {
	source       *Source
	domain, host string
	rule         *Rule // nil if no rule matches
	audit        bool
	rulesAlone   bool         // the sender of the mail does not want policies of domains to keep it
	dane         *dane.Policy // nil if not asked
	sts          *mtasts.Found
	policyDomain string  // of sts
	before       []Proof // what was authenticated before
	unrecalled   error   // why that is not known: the store failed
	evidence     Evidence
}

// stsDecides reports whether an MTA-STS policy applies to the host, and no TLSA records
// of its own.
func (c *inquiry) stsDecides() bool {
	return c.sts.Enforced() && (c.dane == nil || c.dane.Outcome != dane.Usable)
}

// isUnread reports whether it is not known if an MTA-STS policy in force decides, because
// the store cannot be read.
func (c *inquiry) isUnread() bool {
	return c.sts != nil && c.sts.Unread != nil && (c.dane == nil || c.dane.Outcome != dane.Usable)
}

// isUnrecalled reports whether it is not known if the host was authenticated before,
// because the store cannot be read, and mail depends on that.
func (c *inquiry) isUnrecalled() bool {
	return c.unrecalled != nil && c.source.Ratchet == Refuse && !c.mustAuthenticate()
}

// basis is the same for inquiries that say the same of a connection; empty if no policy
// has a say.
func (c *inquiry) basis() string {
	parts := []string{c.rule.key()}
	if c.rule != nil {
		parts = append(parts, c.rule.Level.String())
	}
	if c.dane != nil && c.dane.Outcome != dane.None {
		parts = append(parts, c.dane.Outcome.String(), c.dane.Base)
		for _, r := range c.dane.Records {
			parts = append(parts, r.String())
		}
	}
	if c.sts != nil && (c.sts.Applies() || c.sts.Err != nil) {
		parts = append(parts, c.policyDomain, c.sts.ID)
		if c.sts.Policy != nil {
			parts = append(parts, c.sts.Policy.Lines...)
		}
	}
	if c.rulesAlone {
		parts = append(parts, "rules alone")
	}
	if was, found := c.lost(); found {
		parts = append(parts, "was "+was.By)
	}
	if len(parts) == 1 && parts[0] == "" {
		return ""
	}
	basis := strings.Join(parts, "\n")
	if len(basis) > sha256.Size { // it is kept with sessions, and records can be long
		sum := sha256.Sum256([]byte(basis))
		basis = string(sum[:])
	}
	return c.domain + "\n" + basis
}

// misconfigured returns the error of a Source with invalid fields.
func (c *inquiry) misconfigured(err error) error {
	d := &delivery.Decision{
		Domain: c.domain, Host: c.host, Result: tlsrpt.ValidationFailure, Reason: "misconfigured", Fault: delivery.FaultOurs,
		Text: "no mail is sent, because the TLS settings are invalid: " + err.Error(), Cause: err,
	}
	return d.Err()
}

// decide is the decision about a connection, or before there is any if h is nil.
func (c *inquiry) decide(h *delivery.Handshake) *delivery.Decision {
	e := c.evidence
	d := &delivery.Decision{Domain: c.domain, Host: c.host, Accepted: true, Evidence: &e}
	e.Audit = c.audit
	if h != nil {
		d.Addr, d.Encrypted = h.Addr, h.State != nil
		e.TLS = tlsOf(h.State)
	}
	switch {
	case c.rule.level() == Fingerprint && h != nil:
		c.fingerprint(d, h)
	case c.rule.level().fixed():
		d.Text = inWords(d.Encrypted) + ", by the rule for " + e.Match
		if c.rule.level() == Encrypt && h != nil && h.State == nil { // the level keeps the mail
			d.Result, d.Reason = withoutTLS(h)
			d.Fault = faultOf(d.Result, d.Reason)
		}
	default:
		c.byPolicies(d, &e, h)
	}
	if c.ratcheted() {
		c.look(d, &e, h)
	}
	if !d.Accepted && c.audit {
		d.Accepted, d.Text = true, "mail is sent all the same, since policies are only watched: "+d.Text
		d.Authenticated = false
	}
	c.count(d, &e, h)
	return d
}

func inWords(encrypted bool) string {
	if encrypted {
		return "TLS"
	}
	return "no TLS"
}

// fingerprint compares the host's certificate with the fingerprints of the rule.
func (c *inquiry) fingerprint(d *delivery.Decision, h *delivery.Handshake) {
	chain := h.Chain()
	switch {
	case len(chain) > 0 && slices.Contains(c.rule.Fingerprints, sha256.Sum256(chain[0].Raw)):
		d.Authenticated, d.Text = true, "authenticated by a fingerprint of the rule for "+c.evidence.Match
	case len(chain) > 0:
		c.refuse(d, tlsrpt.NotTrusted, "fingerprint", "the certificate has none of the fingerprints of the rule for "+c.evidence.Match, nil)
	default:
		result, reason := withoutTLS(h)
		c.refuse(d, result, reason, "the session has no TLS, and the rule for "+c.evidence.Match+" requires it", h.Err)
	}
}

// withoutTLS is what is wrong with a host that there is no TLS with.
func withoutTLS(h *delivery.Handshake) (result tlsrpt.Result, reason string) {
	switch {
	case !h.Offered:
		return tlsrpt.StartTLSNotSupported, "starttls-not-offered"
	case h.Unparsable:
		return tlsrpt.ValidationFailure, "certificate-unparsable"
	default:
		return tlsrpt.ValidationFailure, "handshake-failed"
	}
}

// refuse makes d a decision that keeps mail, unless it is one already: who was asked first
// is heard first.
func (c *inquiry) refuse(d *delivery.Decision, result tlsrpt.Result, reason, text string, cause error) {
	if !d.Accepted {
		return
	}
	d.Accepted, d.Result, d.Reason, d.Text, d.Cause = false, result, reason, text, cause
	d.Authenticated = false
	d.Fault = faultOf(result, reason)
}

// byPolicies has DANE and MTA-STS judge.
func (c *inquiry) byPolicies(d *delivery.Decision, e *Evidence, h *delivery.Handshake) {
	if c.dane != nil {
		e.DANE = c.byDANE(h)
	}
	if c.sts != nil {
		e.MTASTS = c.bySTS(h)
	}
	if v := e.DANE; v != nil && !v.Accepted {
		d.Source = "dane"
		c.refuse(d, resultOf(string(v.ResultType)), v.Reason.Code(), v.Err().Error(), v.Err())
		return
	}
	if c.dane != nil && c.dane.Outcome == dane.Usable {
		c.authenticated(d, e)
		return
	}
	if c.isUnread() {
		d.Source = "mta-sts"
		c.refuse(d, tlsrpt.ValidationFailure, "policy-store",
			"it is not known whether an MTA-STS policy of "+c.policyDomain+" is in force, because the store of policies cannot be read: "+c.sts.Unread.Error(), c.sts.Unread)
		return
	}
	v := e.MTASTS
	switch {
	case v == nil || !c.sts.Applies():
		d.Text = c.opportunistic(d, e)
	case !v.Accepted:
		d.Source = "mta-sts"
		c.refuse(d, resultOf(string(v.ResultType)), v.ReasonCode, v.Err().Error(), v.Err())
		return
	case v.Authenticated && c.sts.Enforced():
		d.Authenticated, d.Source, d.Text = true, "mta-sts", "authenticated, as the MTA-STS policy of "+c.policyDomain+" asks"
	case h != nil:
		d.Text = inWords(d.Encrypted) + "; the MTA-STS policy of " + c.policyDomain + " is only being tested: " + stsText(v)
	}
	c.noteWrong(d, e)
}

// authenticated is the decision about a host whose TLSA records have authenticated it.
func (c *inquiry) authenticated(d *delivery.Decision, e *Evidence) {
	switch {
	case !e.DANE.Authenticated:
		d.Text = "it has TLSA records to be authenticated by"
	case e.DANE.DomainAuthenticated():
		d.Authenticated, d.Source, d.Text = true, "dane", "authenticated by DANE"
	default:
		d.Text = "authenticated by DANE as " + c.host + ", of which insecure MX records say that it is the domain's"
	}
	c.noteWrong(d, e)
}

// noteWrong records a problem without holding back mail.
func (c *inquiry) noteWrong(d *delivery.Decision, e *Evidence) {
	switch {
	case e.DANE != nil && e.DANE.ResultType != "":
		d.Result, d.Reason = resultOf(string(e.DANE.ResultType)), e.DANE.Reason.Code()
	case e.MTASTS != nil && e.MTASTS.ResultType != "":
		d.Result, d.Reason = resultOf(string(e.MTASTS.ResultType)), e.MTASTS.ReasonCode
	case c.sts != nil && c.sts.Err != nil && c.sts.ResultType() != "":
		d.Result = resultOf(string(c.sts.ResultType()))
		d.Reason = reasonOf(c.sts.Err)
	default:
		return
	}
	d.Fault = faultOf(d.Result, d.Reason)
}

// opportunistic describes a host to which no policy applies.
func (c *inquiry) opportunistic(d *delivery.Decision, e *Evidence) string {
	text := inWords(d.Encrypted)
	if c.dane != nil && c.dane.Outcome == dane.Unusable {
		return text + ", not authenticated: " + e.DANE.Reason.String()
	}
	return text + "; no policy asks for more"
}

// stsText describes the verdict of MTA-STS in a few words.
func stsText(v *mtasts.Verdict) string {
	switch {
	case v.ReasonCode == "mx-mismatch":
		return "it does not name the host"
	case v.ResultType != "":
		text := v.ReasonCode
		if v.Cause != nil {
			text += ": " + v.Cause.Error()
		}
		return text
	case v.Authenticated:
		return "the host is as it says"
	}
	return "it names the host"
}

// byDANE is the verdict of DANE.
func (c *inquiry) byDANE(h *delivery.Handshake) *dane.Verdict {
	if h == nil {
		if err, ok := errors.AsType[*dane.Error](c.dane.Err()); ok {
			return &err.Verdict
		}
		return &dane.Verdict{Policy: c.dane, Accepted: true, Reason: c.dane.Reason}
	}
	return c.dane.Judge(dane.Session{Offered: h.Offered, Err: h.Err, Unparsable: h.Unparsable, Chain: h.Chain()}, h.Now)
}

// bySTS returns the verdict of MTA-STS. If DANE decides, it is used for reports only.
func (c *inquiry) bySTS(h *delivery.Handshake) *mtasts.Verdict {
	if h == nil {
		return c.sts.JudgeName(c.host)
	}
	return c.sts.Judge(c.host, mtasts.Session{Offered: h.Offered, Err: h.Err, Unparsable: h.Unparsable, Chain: h.Chain()}, h.Roots, h.Now)
}

// count fills in what reports of TLS are to have.
func (c *inquiry) count(d *delivery.Decision, e *Evidence, h *delivery.Handshake) {
	if c.rule.level().fixed() || c.rulesAlone {
		return
	}
	about := func(result tlsrpt.Result, reason string) []tlsrpt.Failure {
		if result == tlsrpt.Success {
			return nil
		}
		f := tlsrpt.Failure{Result: result, Reason: reason, Host: c.host}
		if h != nil {
			f.ReceivingIP, f.SendingIP, f.Helo = h.Addr.Addr(), h.Local.Addr(), h.Helo
		}
		return []tlsrpt.Failure{f}
	}
	domain := c.domain
	if c.policyDomain != "" {
		domain = c.policyDomain
	}
	if c.dane != nil && (c.dane.Outcome != dane.None || e.DANE.ResultType != "") {
		d.Held = append(d.Held, delivery.HeldTo{
			Domain:   domain,
			Policy:   tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: c.tlsaDomain(), Strings: c.dane.Strings()},
			Failures: about(resultOf(string(e.DANE.ResultType)), e.DANE.Reason.Code()),
		})
	}
	if c.sts != nil && (c.sts.Applies() || c.sts.ResultType() != "") {
		p := tlsrpt.Policy{Type: tlsrpt.STS, Domain: c.policyDomain}
		if c.sts.Policy != nil {
			p.Strings, p.MX = c.sts.Policy.Lines, c.sts.Policy.MX
		}
		failures := about(resultOf(string(e.MTASTS.ResultType)), e.MTASTS.ReasonCode)
		if c.sts.ResultType() != "" {
			failures = append(failures, about(resultOf(string(c.sts.ResultType())), reasonOf(c.sts.Err))...)
		}
		d.Held = append(d.Held, delivery.HeldTo{Domain: domain, Policy: p, Failures: failures})
	}
	if len(d.Held) > 0 || h == nil {
		return
	}
	var failures []tlsrpt.Failure
	if h.State == nil {
		failures = about(withoutTLS(h))
	}
	d.Held = append(d.Held, delivery.HeldTo{Domain: domain, Policy: tlsrpt.Policy{Type: tlsrpt.NoPolicy, Domain: domain}, Failures: failures})
	if len(failures) > 0 && d.Result == tlsrpt.Success {
		d.Result, d.Reason = failures[0].Result, failures[0].Reason
		d.Fault = faultOf(d.Result, d.Reason)
	}
}

// tlsaDomain returns the policy domain of TLSA records: where they are, or would be.
func (c *inquiry) tlsaDomain() string {
	if c.dane.Base != "" {
		return c.dane.Base
	}
	return c.dane.Host
}

// resultOf is the result of a word.
func resultOf(word string) tlsrpt.Result {
	if word == "" {
		return tlsrpt.Success
	}
	result, _ := tlsrpt.ParseResult(word)
	return result
}

// reasonOf is the reason in an error.
func reasonOf(err error) string {
	if e, ok := errors.AsType[*mtasts.Error](err); ok {
		return e.Reason
	}
	return ""
}

// faultOf returns who can correct the problem.
func faultOf(result tlsrpt.Result, reason string) delivery.Fault {
	switch {
	case result == tlsrpt.Success:
		return delivery.NoFault
	case reason == "misconfigured", reason == "policy-store", reason == "proof-store":
		return delivery.FaultOurs
	case reason == "dns-lookup-failed":
		return delivery.FaultDNS
	case reason == "mx-mismatch", result >= tlsrpt.STSFetchError, result == tlsrpt.DANERequired:
		return delivery.FaultDomain
	default:
		return delivery.FaultHost
	}
}
