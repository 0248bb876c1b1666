package delivery

import (
	"errors"
	"fmt"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/mx"
)

// Validate says everything that is wrong with the fields, each problem with the
// name of its field; nil where they make sense. A Sender that does not make
// sense defers every message with the same error: a mistake in configuration
// must not bounce mail.
func (s *Sender) Validate() error {
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
