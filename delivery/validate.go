package delivery

import (
	"errors"
	"fmt"
	"slices"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// Validate says everything that is wrong with the fields, each problem with the
// name of its field; nil where they make sense. A Sender that does not make
// sense defers every message with the same error: a mistake in configuration
// must not bounce mail. That there is a Resolver beside a Router is told and does no
// harm.
func (s *Sender) Validate() error {
	if s.Router != nil && s.Resolver != nil {
		return errors.Join(errIdleResolver, s.validate())
	}
	return s.validate()
}

var errIdleResolver = errors.New("delivery.Sender.Resolver: the Router decides it, and does not look here")

// validate is Validate for those that are about to send.
func (s *Sender) validate() error {
	var problems []error
	wrong := func(field, format string, args ...any) {
		problems = append(problems, fmt.Errorf("delivery.Sender."+field+": "+format, args...))
	}
	if s.Hello != "" {
		if _, err := address.ParseHello(s.Hello); err != nil {
			wrong("Hello", "%w", err)
		}
	}
	for i, name := range s.Self {
		if _, err := address.ParseDomain(name); err != nil {
			wrong(fmt.Sprintf("Self[%d]", i), "%w", err)
		}
	}
	for i, a := range s.SelfAddrs {
		if !a.IsValid() {
			wrong(fmt.Sprintf("SelfAddrs[%d]", i), "not an address")
		}
	}
	s.validateRouter(wrong)
	if s.TLS > mx.TLSVerify {
		wrong("TLS", "%d is no level", s.TLS)
	}
	if s.Family > mx.IPv6Only {
		wrong("Family", "%d is no family", s.Family)
	}
	if s.Content > Relay {
		wrong("Content", "%d is no policy", s.Content)
	}
	for i, a := range s.Source {
		if !a.IsValid() {
			wrong(fmt.Sprintf("Source[%d]", i), "not an address")
		}
	}
	for _, limit := range []struct {
		field string
		value int
	}{
		{"MaxConnections", s.MaxConnections}, {"MaxSessions", s.MaxSessions}, {"MaxDestinations", s.MaxDestinations},
	} {
		if limit.value < 0 {
			wrong(limit.field, "%d is negative", limit.value)
		}
	}
	return errors.Join(problems...)
}

// validateRouter finds the fields that say nothing because there is a Router, and the
// names of this host that it does not know.
func (s *Sender) validateRouter(wrong func(field, format string, args ...any)) {
	if s.Router == nil {
		return
	}
	for _, ignored := range []struct {
		field string
		set   bool
	}{
		{"SelfAddrs", len(s.SelfAddrs) > 0}, {"Relay", s.Relay},
		{"AllowLoopback", s.AllowLoopback}, {"RefusePrivate", s.RefusePrivate},
		{"Family", s.Family != mx.BothFamilies}, {"DeferNoSuchDomain", s.DeferNoSuchDomain},
	} {
		if ignored.set {
			wrong(ignored.field, "the Router decides it, and does not look here")
		}
	}
	known, ok := selfOf(s.Router), false
	switch s.Router.(type) {
	case byMX, *smarthost.Table:
		ok = true
	}
	for i, name := range s.Self {
		d, err := address.ParseDomain(name)
		if ok && err == nil && !slices.ContainsFunc(known, func(k string) bool {
			other, err := address.ParseDomain(k)
			return err == nil && other.String() == d.String()
		}) {
			wrong(fmt.Sprintf("Self[%d]", i), "%s is not in the Self of the Router, which would use hosts no better than this one", name)
		}
	}
}
