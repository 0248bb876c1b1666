package attempt

import (
	"errors"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// Failure is what an error of a session means.
func (c *Config) Failure(h *session.Hop, err error) *Failure { return c.judge(h, err) }

// judge turns an error of a session into one of an attempt: a reply by the
// verdict table, anything else by its kind.
func (c *Config) judge(h *session.Hop, err error) *Failure {
	if none, ok := errors.AsType[*session.Error](err); ok {
		return noDialogue(h, none)
	}
	if refused, ok := errors.AsType[*session.Refusal](err); ok {
		return fail(h, StageStartTLS, NotNow, statusOfRefusal(refused), refused)
	}
	var se *smtp.Error
	if !errors.As(err, &se) {
		return own(h, err)
	}
	stage := stageOf(se.Stage)
	switch se.Kind {
	case smtp.Replied:
		return c.replied(h, stage, &se.Reply)
	case smtp.Unfit:
		if strings.HasPrefix(se.Enhanced, "4.") {
			return fail(h, StageStartTLS, NotNow, se.Enhanced, se)
		}
		// The host lacks something the message needs: another may have it.
		return fail(h, stage, HostRefuses, se.Enhanced, se)
	case smtp.BadTLS, smtp.Security:
		return fail(h, StageStartTLS, NotNow, "4.7.5", se)
	case smtp.BadAuth:
		return fail(h, StageAuth, NotNow, "4.7.0", se)
	case smtp.Local:
		return fail(h, StageContent, NotNow, "4.3.0", se)
	case smtp.Protocol, smtp.Incapable:
		return fail(h, stage, NotNow, "4.5.0", se)
	default:
		return fail(h, stage, NotNow, "4.4.2", se)
	}
}

// replied is a refusal in a host's own words.
func (c *Config) replied(h *session.Hop, stage Stage, r *smtp.Reply) *Failure {
	judge := c.Judge
	if judge == nil {
		judge = Judge
	}
	e := fail(h, stage, judge(stage, r.Code, r.Enhanced), r.Enhanced, nil)
	e.Code, e.Lines = r.Code, r.Lines()
	if e.Enhanced == "" {
		e.Enhanced = statusFor(stage, r.Code)
	}
	if e.Verdict > Refused { // a replaced table said this, but a refusal is not a delivery
		e.Verdict = NotNow
	}
	return e
}

// noDialogue returns why there was no dialogue with a host.
func noDialogue(h *session.Hop, e *session.Error) *Failure {
	if e.Step == session.Dialling {
		return fail(h, StageConnect, NotNow, "4.4.1", e.Err)
	}
	return fail(h, StageHello, NotNow, "4.3.5", e.Err)
}

// own is what we found wrong with a session ourselves.
func own(h *session.Hop, err error) *Failure {
	switch {
	case errors.Is(err, session.ErrSelf):
		return fail(h, StageHello, HostRefuses, "5.4.6", err)
	case session.IsLogin(err):
		return fail(h, StageAuth, NotNow, "4.7.0", err)
	case errors.Is(err, session.ErrNoTLS):
		return fail(h, StageStartTLS, NotNow, "4.7.4", err)
	default:
		return fail(h, StageHello, NotNow, "4.4.2", err)
	}
}

// statusOfRefusal returns the status for a host that a policy excludes: it has no TLS,
// or is not authenticated (RFC 3463 section 3.8).
func statusOfRefusal(r *session.Refusal) string {
	if errors.Is(r.Cause, session.ErrNoTLS) {
		return "4.7.4"
	}
	return "4.7.5"
}

// stageOf is the attempt's stage for the session's.
func stageOf(s smtp.Stage) Stage {
	switch s {
	case smtp.StageBanner:
		return StageBanner
	case smtp.StageHello:
		return StageHello
	case smtp.StageStartTLS, smtp.StageHandshake:
		return StageStartTLS
	case smtp.StageAuth:
		return StageAuth
	case smtp.StageRcpt:
		return StageRcpt
	case smtp.StageData:
		return StageData
	case smtp.StageContent, smtp.StageFinal:
		return StageContent
	default:
		return StageMail
	}
}
