package smtpd

import (
	"net/netip"
	"strings"

	"github.com/nexthop-mail/nexthop/queue"
)

// postmaster is where mail for the postmaster of this host goes.
func (s *Server) postmaster() string {
	if s.Postmaster != "" {
		return s.Postmaster
	}
	return "postmaster@" + s.Name
}

// isPostmaster reports whether a path is the postmaster of this host: without a domain,
// or with one that is this host's (RFC 5321 sections 2.3.5 and 4.5.1).
func (s *Server) isPostmaster(path string, w *wire) bool {
	name, domain, qualified := strings.Cut(path, "@")
	if !strings.EqualFold(name, "postmaster") && !strings.EqualFold(name, `"postmaster"`) {
		return false
	}
	return !qualified || s.isOwn(domain, w)
}

func (s *Server) isOwn(domain string, w *wire) bool {
	destination, err := queue.ParseDestination(domain)
	if err != nil {
		return false
	}
	for _, name := range append([]string{s.Name}, s.Names...) {
		if own, err := queue.ParseDestination(name); err == nil && own == destination {
			return true
		}
	}
	inner, literal := strings.CutPrefix(destination, "[")
	if !literal {
		return false
	}
	ip, err := netip.ParseAddr(strings.TrimPrefix(strings.TrimSuffix(inner, "]"), "IPv6:"))
	return err == nil && ip == w.local()
}
