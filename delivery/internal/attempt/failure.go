package attempt

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/queue"
)

// Failure is why a recipient was not delivered, or why an attempt at one host
// failed: Code and Lines are the host's reply, or Err is the cause. Package
// delivery tells its users of it as an Error.
type Failure struct {
	Stage      Stage
	Host       string
	Addr       netip.AddrPort
	Recipient  string // if it is about one recipient
	Code       int
	Lines      []string
	Enhanced   string // never empty
	Verdict    Verdict
	AtMostOnce bool   // it may have been taken, and must not be sent again
	Remembered bool   // not asked: the same had just happened
	Elsewhere  string // which host will never take the message, and why, if this one has failed for now
	Err        error
}

// fail makes a Failure about a hop.
func fail(h *session.Hop, stage Stage, verdict Verdict, enhanced string, cause error) *Failure {
	return &Failure{Stage: stage, Host: h.Host.Name, Addr: h.Addr, Verdict: verdict, Enhanced: enhanced, Err: cause}
}

// Replied reports whether the host said so, and not nexthop in its place.
func (f *Failure) Replied() bool { return len(f.Lines) > 0 }

// Reply is the failure in the flat form a queue stores.
func (f *Failure) Reply() queue.Reply {
	r := queue.Reply{Host: f.Host, Code: f.Code, Enhanced: f.Enhanced, Text: strings.Join(f.Lines, "\n")}
	if f.Addr.IsValid() {
		r.Addr = f.Addr.String()
	}
	if r.Text == "" && f.Err != nil {
		r.Text = f.Err.Error()
	}
	return r
}

// LoginRefused reports whether the host takes no mail from us until something
// about the login changes (RFC 4954 section 6; QUE-15).
func (f *Failure) LoginRefused() bool {
	if f.Stage == StageAuth {
		var dialogue *smtp.Error
		return f.Code/100 == 5 || session.IsOwnLogin(f.Err) ||
			errors.As(f.Err, &dialogue) && dialogue.Kind == smtp.BadAuth
	}
	return f.Replied() && aboutLogin(f.Code, f.Enhanced)
}

// aboutLogin reports whether a refusal asks for a login or refuses one, in reply to any
// command. A demand for TLS before a login counts as well: no mail is accepted before
// that changes.
func aboutLogin(code int, enhanced string) bool {
	switch code {
	case 530, 534, 535, 538:
		return true
	}
	switch enhanced {
	case "5.7.8", "5.7.9", "5.7.10", "5.7.11":
		return code/100 == 5
	}
	return false
}

// isSelf reports whether a session failed because the host is this one.
func (f *Failure) isSelf() bool { return errors.Is(f.Err, session.ErrSelf) }

// blamesAddress reports whether the failure speaks against the address, so that
// the next message should leave it alone for a while.
func (f *Failure) blamesAddress() bool {
	switch f.Stage {
	case StageConnect:
		return !session.Ours(f.Err)
	case StageBanner, StageHello:
		var se *smtp.Error
		return f.Replied() || errors.As(f.Err, &se)
	default:
		return false
	}
}
