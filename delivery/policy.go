package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/mx"
)

// TLSPolicy is what TLS one host must give for one route.
type TLSPolicy struct {
	// Level is the least that will do. TLSDefault is TLSMay.
	Level mx.TLSLevel

	// Source names what asked for it, for reports: "" for configuration, or
	// such as "dane", "mta-sts".
	Source string

	// ServerName is sent as SNI and, at TLSVerify, is the name the certificate
	// must be for. Empty is one of the host's Identities, or where it has none its
	// name, the address alone of an address literal, which is not sent as SNI.
	ServerName string

	// Verify, where not nil, replaces the check of the certificate against the
	// roots and ServerName. It runs in the handshake, at TLSVerify only: the
	// levels below it take any certificate.
	Verify func(tls.ConnectionState) error

	// Vouched is whether the source knows that the host is one of the domain's,
	// as an MTA-STS policy that names it does and DANE with its secured MX records
	// (RFC 8689 section 4.2.1). A message with REQUIRETLS goes to no host of an MX
	// record without, unless DNSSEC vouches for the route.
	Vouched bool

	// Key tells apart policies that a session made under one must not serve the
	// other. It joins host, address and level in the key of kept sessions; it
	// must differ wherever Verify does.
	Key string

	// Expires is when the policy must be asked for again; a session is not
	// reused past it. Zero is never.
	Expires time.Time
}

// PolicySource decides the TLS policy of a host. It is asked after the host's
// addresses are known and before any of them is dialled.
//
//   - An error leaves the host out of this attempt as a temporary failure; the
//     next host is tried. It never leads to less security.
//   - An answer weaker than the level the host or the Sender is configured
//     with is raised to that level.
//   - It may be called concurrently.
type PolicySource interface {
	TLSPolicy(ctx context.Context, route *mx.Route, host *mx.Host) (TLSPolicy, error)
}

// policyFor is the policy of a host: the configured level, raised by what the
// sender's PolicySource asks.
func (s *Sender) policyFor(ctx context.Context, route *mx.Route, host *mx.Host) (TLSPolicy, error) {
	level, err := s.levelFor(host)
	if err != nil {
		return TLSPolicy{}, err
	}
	var p TLSPolicy
	// TLSNone is an order, not a wish: no policy is asked.
	if s.Policy != nil && level != mx.TLSNone {
		if p, err = s.Policy.TLSPolicy(ctx, route, host); err != nil {
			return TLSPolicy{}, err
		}
	}
	p.Level = max(p.Level, level)
	s.identify(&p, host)
	return p, nil
}

// Levels that make no sense. None of these is a reason to bounce mail.
var (
	errLoginMay = &loginError{"a login at TLS level may: secrets would go to whoever leaves out STARTTLS; none or encrypt says so by name"}
	errImplicit = &configError{errors.New("TLS level none, and TLS from the start")}
)

// levelFor is the level that is configured for a host: its own, else the
// Sender's, which a host with a login or with TLS from the start raises.
func (s *Sender) levelFor(host *mx.Host) (mx.TLSLevel, error) {
	if _, err := loginOf(host); err != nil {
		return 0, err
	}
	level := host.TLS
	switch {
	case host.Login != nil && level == mx.TLSMay:
		return 0, errLoginMay
	case host.ImplicitTLS && level == mx.TLSNone:
		return 0, errImplicit
	case host.Login != nil && level == mx.TLSDefault:
		return mx.TLSVerify, nil // RFC 8314 section 5.2
	case level == mx.TLSDefault:
		level = s.TLS
	}
	switch {
	case host.ImplicitTLS:
		return max(level, mx.TLSEncrypt), nil
	case level == mx.TLSDefault:
		return mx.TLSMay, nil
	default:
		return level, nil
	}
}

// noPolicy is the error of a host that has no policy to be connected under.
func noPolicy(host *mx.Host, err error) *Error {
	e := &Error{Stage: StageStartTLS, Host: host.Name, Enhanced: "4.7.5", Err: err}
	var ce *configError
	switch {
	case isLoginError(err):
		e.Stage, e.Enhanced = StageAuth, "4.3.5"
	case errors.As(err, &ce):
		e.Enhanced = "4.3.5"
	}
	return e
}

// certificateName is what a host's certificate must be for: its name, or the
// address alone where that is an address literal.
func certificateName(host string) string {
	if !strings.HasPrefix(host, "[") {
		return host
	}
	d, err := address.ParseDomain(host)
	if err != nil {
		return host
	}
	if ip, ok := d.Literal(); ok {
		return ip.String()
	}
	return host
}
