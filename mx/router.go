package mx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nexthop-mail/nexthop/internal/enum"
)

// Lookup finds the route for mail to domain. It calls Route of a Router of which only the
// Resolver is set. A program that looks up more than one domain should keep a Router with
// a Cache.
func Lookup(ctx context.Context, r Resolver, domain string) (Route, error) {
	return (&Router{Resolver: r}).Route(ctx, domain)
}

// Router finds routes. Set the fields before the first use and do not change them
// afterwards; then it is safe for concurrent use. A Router must not be copied after its
// first use.
type Router struct {
	// Resolver answers DNS questions. Required. If it is a *Cache, a route whose answers
	// are all cached is found without starting a goroutine.
	Resolver Resolver

	// Self are the names that this host has in MX records: its host names and its EHLO
	// name, in any spelling. An address literal counts as an entry of SelfAddrs. If Self
	// is empty, no host is left out by name.
	Self []string

	// SelfAddrs are addresses at which others reach this host but which are not those
	// of its interfaces, such as the public address of a NAT.
	SelfAddrs []netip.Addr

	// Relay says that this host passes on the mail of others. The addresses of its
	// interfaces then count as its own, too (RFC 5321 section 5.1). A program that only
	// sends leaves it false, so that it can reach a mail server on the same machine.
	Relay bool

	// InterfaceAddrs lists the addresses of the interfaces, for Relay. Default:
	// net.InterfaceAddrs. It is called again after a minute.
	InterfaceAddrs func() ([]net.Addr, error)

	// SelfPorts are the TCP ports at which this host accepts mail. Default: 25. A host
	// that the operator named counts as this one only at these ports (IsSelf), because
	// another server may listen at another port of the same machine.
	SelfPorts []uint16

	// AllowLoopback permits loopback addresses as next hops. If it is false, a host that
	// has only loopback, unspecified or multicast addresses counts as this host.
	// Unspecified and multicast addresses are never used.
	AllowLoopback bool

	// AllowLinkLocal permits link-local addresses (169.254.0.0/16, fe80::/10).
	// RefusePrivate refuses addresses of private and other special networks (RFC 6890); it
	// is for programs whose users choose the domains.
	AllowLinkLocal bool
	RefusePrivate  bool

	// Family limits the addresses asked for and used. Default: both families.
	Family Family

	// Order is the order of the two families within one host, never across hosts (RFC 5321
	// section 5.1). Default: Alternate.
	Order FamilyOrder

	// DeferNoSuchDomain makes the error temporary if a domain does not exist
	// (MaybeNoSuchDomain). Mail then waits, and does not bounce while a delegation is
	// broken or a name was just registered.
	DeferNoSuchDomain bool

	// HostLookup says where Addresses looks up a host. Default: the hosts file of this
	// machine, then DNS with its search list.
	HostLookup *HostLookup

	// Rand returns a uniform random number in [0, n), for the order of hosts with the same
	// preference. Default: that of math/rand/v2. It must be safe for concurrent use.
	Rand func(n int) int

	// MaxHosts bounds the number of hosts in a route. Default: 16. A host of each
	// preference is chosen before a second of any preference.
	MaxHosts int

	// MaxAddrsPerHost bounds the number of addresses of one host. Default: 4. If a host
	// has both families, both are among them.
	MaxAddrsPerHost int

	// MaxAddrs bounds the number of addresses in a route. Default: 32. Every host keeps
	// one before any host keeps a second. Each of the three limits counts as 2 if it is 1,
	// because at least two addresses should be tried (RFC 5321 section 5.1).
	MaxAddrs int

	once       sync.Once
	prepared   identity
	interfaces atomic.Pointer[interfaceAddrs]
	hostLookup HostLookup // where HostLookup is nil
}

// Default limits, and limits on lists whose length a stranger's DNS controls.
const (
	defaultHosts        = 16
	defaultAddrsPerHost = 4
	defaultAddrs        = 32
	listedLeftOut       = 100
)

// Family says which kinds of addresses are used.
type Family uint8

// The families.
const (
	BothFamilies Family = iota
	IPv4Only
	IPv6Only
)

var familyNames = [...]string{"both", "ipv4", "ipv6"}

// String returns both, ipv4 or ipv6.
func (f Family) String() string { return enum.String("mx.Family", familyNames[:], f) }

// MarshalText returns the text of String. It fails for a value without a name.
func (f Family) MarshalText() ([]byte, error) { return enum.Marshal("mx.Family", familyNames[:], f) }

// UnmarshalText reads the form that MarshalText writes, and no other.
func (f *Family) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mx.Family", familyNames[:], f, text)
}

// FamilyOrder is the order of the two families of one host. Within a family, the
// resolver's order is kept.
type FamilyOrder uint8

// The orders.
const (
	Alternate  FamilyOrder = iota // IPv6, IPv4, IPv6, ...: if one family does not work, only one address is tried in vain
	PreferIPv4                    // all IPv4 first
	PreferIPv6                    // all IPv6 first (RFC 3974 section 3)
)

var orderNames = [...]string{"alternate", "ipv4-first", "ipv6-first"}

// String returns alternate, ipv4-first or ipv6-first.
func (o FamilyOrder) String() string { return enum.String("mx.FamilyOrder", orderNames[:], o) }

// MarshalText returns the text of String. It fails for a value without a name.
func (o FamilyOrder) MarshalText() ([]byte, error) {
	return enum.Marshal("mx.FamilyOrder", orderNames[:], o)
}

// UnmarshalText reads the form that MarshalText writes, and no other.
func (o *FamilyOrder) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mx.FamilyOrder", orderNames[:], o, text)
}

// Validate reports everything that is wrong with the fields, each problem with the
// name of its field. The error is nil if they make sense. Route and Addresses fail with
// the same error, as Misconfigured: a wrong configuration must not bounce mail.
func (r *Router) Validate() error {
	var problems []error
	if r.Resolver == nil {
		problems = append(problems, errors.New("mx.Router.Resolver: required"))
	}
	for _, limit := range []struct {
		field string
		value int
	}{{"MaxHosts", r.MaxHosts}, {"MaxAddrsPerHost", r.MaxAddrsPerHost}, {"MaxAddrs", r.MaxAddrs}} {
		if limit.value < 0 {
			problems = append(problems, fmt.Errorf("mx.Router.%s: %d is negative", limit.field, limit.value))
		}
	}
	if r.Family > IPv6Only {
		problems = append(problems, fmt.Errorf("mx.Router.Family: %d is not a family", r.Family))
	}
	if r.Order > PreferIPv6 {
		problems = append(problems, fmt.Errorf("mx.Router.Order: %d is not an order", r.Order))
	}
	if slices.Contains(r.SelfPorts, 0) {
		problems = append(problems, errors.New("mx.Router.SelfPorts: 0 is not a port"))
	}
	for i, a := range r.SelfAddrs {
		if !a.IsValid() {
			problems = append(problems, fmt.Errorf("mx.Router.SelfAddrs[%d]: not an address", i))
		}
	}
	_, err := canonicalSelf(r.Self)
	return errors.Join(append(problems, err)...)
}

// noSuchDomain is the kind of error if a domain does not exist.
func (r *Router) noSuchDomain() ErrorKind {
	if r.DeferNoSuchDomain {
		return MaybeNoSuchDomain
	}
	return NoSuchDomain
}

// limit is a limit as it counts.
func limit(value, otherwise int) int {
	if value == 0 {
		return otherwise
	}
	return max(value, 2)
}

func (r *Router) maxAddrs() int        { return limit(r.MaxAddrs, defaultAddrs) }
func (r *Router) maxAddrsPerHost() int { return limit(r.MaxAddrsPerHost, defaultAddrsPerHost) }

// maxHosts leaves every host at least one of the addresses.
func (r *Router) maxHosts() int { return min(limit(r.MaxHosts, defaultHosts), r.maxAddrs()) }
