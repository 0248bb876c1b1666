package attempt

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

var errNotVouched = errors.New("REQUIRETLS: neither DNSSEC nor a policy authenticates the MX records")

// policyFor returns the TLS required of a host for the message. If its sender prefers
// delivery to security, the policies of domains are not asked (RFC 8689 section 4.2.2);
// the operator's configuration still applies.
func (w *Walk) policyFor(ctx context.Context, route *mx.Route, host *mx.Host) (session.Policy, error) {
	if w.job.tls == queue.TLSOptional {
		return w.sessions().Configured(ctx, route, host)
	}
	return w.sessions().PolicyFor(ctx, route, host)
}

// vouched reports whether a host is known to be the domain's: DNSSEC covers the
// MX records that name it, or a policy of the domain does, or no MX record led
// to it (RFC 8689 section 4.2.1 step 2).
func vouched(route *mx.Route, p *session.Policy) bool {
	return cmp.Or(route.Via, mx.ViaMX) != mx.ViaMX || route.Secure || p.Vouched
}

// notVouched returns the error of a host that is not known to belong to the domain. If this
// may become known, unsure is why it is not yet, and the failure is temporary.
func notVouched(host *mx.Host, unsure error) *Failure {
	if unsure != nil {
		return &Failure{Stage: StageStartTLS, Host: host.Name, Enhanced: "4.7.5", Err: fmt.Errorf("%w for now: %w", errNotVouched, unsure)}
	}
	return &Failure{
		Stage: StageStartTLS, Host: host.Name, Verdict: HostRefuses, Enhanced: "5.7.10", Err: errNotVouched,
	}
}

// insist makes a failure final for the host if the message requires something that the
// host has shown not to have: TLS, and a certificate from a trusted authority (RFC 8689
// section 5). Network problems stay temporary.
func (f *Failure) insist() {
	if errors.Is(f.Err, session.ErrNoTLS) || session.Distrusted(f.Err) {
		f.Verdict, f.Enhanced = HostRefuses, "5.7.10"
	}
}
