package attempt

import (
	"net/netip"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// Result is the result for one recipient.
type Result struct {
	Address string // as it is in the message
	Outcome queue.Outcome

	// Via is how the next hops were found, or looked for in vain.
	Via mx.Via

	// The host that decided, the protection of its session, its reply, and the reason
	// why the recipient was not delivered, which is nil if it was.
	Host  string
	Addr  netip.AddrPort
	TLS   session.Protection
	Reply queue.Reply
	Err   *Failure

	// Decision is the decision of a policy source about that host; nil if none was
	// asked.
	Decision any

	// Attempts are the steps of the walk in order. Shared is true if other recipients
	// have the same list.
	Attempts []Attempt
	Shared   bool
}

// settle records an outcome that no host was asked for.
func (r *Result) settle(f *Failure, v Verdict) {
	r.Err, r.Outcome, r.Reply = f, v.outcome(), f.Reply()
}

// Attempt is one step of a walk: one address of one host, and how it ended for
// one recipient.
type Attempt struct {
	Host     string
	Addr     netip.AddrPort
	TLS      session.Protection
	Reused   bool // on a session kept from before
	Verdict  Verdict
	Err      *Failure // nil where Verdict is Taken
	Next     Next     // why the walk went on or ended here
	Began    time.Time
	Duration time.Duration
	Stages   session.Stages

	Without smtp.Option // options left out because they do not or may not work there
	Doubted smtp.Option // what may have been the cause: left out next time

	Decision any // of the source of policies that was asked, if one was
}

// Observer is told about the events of a walk and of its sessions.
type Observer interface {
	session.Observer

	// Route is called when a route is known, or is not.
	Route(domain string, route mx.Route, err error)
	// WantsAttempts reports whether Attempt must be called.
	WantsAttempts() bool
	// Attempt is called for each step that ended, with the recipients it was about.
	Attempt(domain string, recipients []string, a Attempt)
}
