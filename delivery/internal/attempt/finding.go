package attempt

import (
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/queue"
)

// step is how the walk goes on after a visit to one address.
type step uint8

const (
	toNextAddress step = iota
	toNextHost
	toEnd
)

// finding is what one transaction meant for one recipient.
type finding struct {
	tried    bool // if false, the recipient must be offered again; nothing was decided
	answered bool // the host has spoken of it, not only the session ended
	verdict  Verdict
	err      *Failure
	reply    queue.Reply
	doubted  smtp.Option // what the next attempt leaves out for it
}

// next is how the walk goes on for the recipient.
func (f *finding) next() Next {
	switch {
	case f.verdict == MaybeTaken:
		return StopUnknown
	case f.verdict.Final():
		return StopSettled
	case f.answered:
		return NextHost
	default:
		return NextAddress
	}
}

// refusesContent reports whether the content is refused permanently for all recipients:
// the host's status says that it is about the mail system or the content (RFC 3463
// sections 3.4 and 3.7). With any other status, or none, the refusal may be about the
// recipients of the transaction: their addresses, their mailboxes, their filters.
func (f *finding) refusesContent(status string) bool {
	return f.verdict == Refused && f.err.Stage == StageContent &&
		(strings.HasPrefix(status, "5.3.") || strings.HasPrefix(status, "5.6."))
}

// result is what one transaction meant.
type result struct {
	findings    []finding
	reachedMail bool
	began       time.Time // the transaction; with a connection made for it, that one
	ended       time.Time
	stages      session.Stages
	stale       bool
	unknown     bool

	// doubt has the possible causes of a failure. instead is the failure if a new
	// session should leave out Doubt.Now at once.
	doubt   smtp.Doubt
	instead *Failure
	failed  bool // the dialogue broke off

	// lost is why a session was lost that may have carried the message, though it
	// had been given up most likely; nil where it cannot have.
	lost *Failure

	// whole is the finding that is not about the batch, or nil: the session ended, or
	// MAIL was refused.
	whole *finding

	// content is the finding that refuses the content permanently for all recipients,
	// or nil: the host would repeat it at the end of each further transaction
	// (requirement SMTP-27).
	content *finding
}

// progress reports whether any recipient was settled.
func (r *result) progress() bool {
	for i := range r.findings {
		if r.findings[i].tried && r.findings[i].verdict.Final() {
			return true
		}
	}
	return false
}

// carried reports whether the message was accepted for any recipient.
func (r *result) carried() bool {
	return slices.ContainsFunc(r.findings, func(f finding) bool { return f.verdict == Taken })
}
