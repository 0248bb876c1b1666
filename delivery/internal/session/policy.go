package session

import (
	"crypto/tls"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// Policy is what TLS one host must give for one route.
type Policy struct {
	Level       mx.TLSLevel                     // the least that will do
	Exact       bool                            // it holds though the Config's is higher
	Source      string                          // what asked for it; "" is the configuration
	ServerName  string                          // for SNI and, at TLSVerify, the certificate; "" is the host's
	Verify      func(tls.ConnectionState) error // in place of the check of the certificate, at TLSVerify
	MinVersion  uint16                          // the least version of TLS that will do; 0 is the configuration's
	Certificate *tls.Certificate                // shown to a host that asks, unless the login has one; nil is none
	Vouched     bool                            // the source knows that the host is the domain's
	Key         string                          // tells policies apart whose sessions must not be shared
	Expires     time.Time                       // no session is used again past it; zero is never
}

// Serves reports whether a session made under one policy serves the other.
func (p *Policy) Serves(o *Policy) bool {
	return p.Level == o.Level && p.Source == o.Source && p.ServerName == o.ServerName && p.Key == o.Key &&
		p.MinVersion == o.MinVersion && p.Certificate == o.Certificate && p.Vouched == o.Vouched
}

// Protection is what a session's TLS is worth: the level that was reached, and who
// asked for the check of the certificate where there was one; "" is the
// configuration.
type Protection struct {
	Level  mx.TLSLevel
	Source string
}
