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

// Lookup says where mail for domain goes. It is Route of a Router with nothing
// but r set; programs that look up more than once keep a Router on a Cache.
func Lookup(ctx context.Context, r Resolver, domain string) (Route, error) {
	return (&Router{Resolver: r}).Route(ctx, domain)
}

// Router finds routes. Set the fields before the first use and leave them alone
// afterwards; then it is safe for concurrent use. A Router must not be copied
// after its first use.
type Router struct {
	// Resolver answers DNS questions; required. If it is a *Cache, a route
	// whose answers are all cached is found without starting a goroutine.
	Resolver Resolver

	// Self are the names under which this host stands in MX records: its host
	// names and its EHLO name, in any spelling. An address literal counts as an
	// entry of SelfAddrs. Without any, no host is removed by name.
	Self []string

	// SelfAddrs are the addresses under which others reach this host and that
	// its interfaces do not show, such as the outside of a NAT.
	SelfAddrs []netip.Addr

	// Relay is whether this host passes on the mail of others. Then the
	// addresses of its interfaces are its own too (RFC 5321 section 5.1). A
	// program that only sends leaves it false: it must be able to reach the
	// mail server it shares a machine with.
	Relay bool

	// InterfaceAddrs lists the addresses of the interfaces, for Relay. Default:
	// net.InterfaceAddrs. It is asked again when a minute has passed.
	InterfaceAddrs func() ([]net.Addr, error)

	// SelfPorts are the TCP ports at which this host takes mail. Default: 25. A
	// host that the operator named is this one at these ports alone (IsSelf): at
	// another there may be another server on the same machine.
	SelfPorts []uint16

	// AllowLoopback makes loopback addresses real next hops. Without it a host
	// with nothing but loopback, unspecified or multicast addresses is this
	// host or nobody: it counts as Self. Unspecified and multicast addresses
	// are never used.
	AllowLoopback bool

	// AllowLinkLocal lets hosts have link-local addresses (169.254.0.0/16,
	// fe80::/10), and RefusePrivate keeps them from having addresses of private
	// and other special networks (RFC 6890): for programs whose users choose
	// the domains.
	AllowLinkLocal bool
	RefusePrivate  bool

	// Family limits the addresses asked for and used. Default: both families.
	Family Family

	// Order is the order of the two families inside one host, never across
	// hosts (RFC 5321 section 5.1); zero alternates.
	Order FamilyOrder

	// DeferNoSuchDomain makes it temporary that a domain does not exist
	// (MaybeNoSuchDomain): for those who would rather wait than bounce mail while
	// a delegation is broken or a name just registered.
	DeferNoSuchDomain bool

	// HostLookup is where Addresses looks for a host. Default: the hosts file of
	// this machine, and DNS with its search list.
	HostLookup *HostLookup

	// Rand is a uniform random number in [0, n), for the order among hosts of
	// one preference. Default: math/rand/v2. It must be safe for concurrent use.
	Rand func(n int) int

	// MaxHosts bounds the hosts of a route. Default: 16. One of each preference
	// comes before a second of any.
	MaxHosts int

	// MaxAddrsPerHost bounds the addresses of one host. Default: 4. If a host
	// has both families, both are among them.
	MaxAddrsPerHost int

	// MaxAddrs bounds the addresses of a route. Default: 32. Every host keeps one
	// before any keeps a second. Each of the three limits counts as 2 if it
	// is 1: at least two addresses are to be tried (RFC 5321 section 5.1).
	MaxAddrs int

	once       sync.Once
	prepared   identity
	interfaces atomic.Pointer[interfaceAddrs]
	hostLookup HostLookup // where HostLookup is nil
}

// The limits that hold if the Router gives none, and the reach of the lists
// a stranger's DNS can make long.
const (
	defaultHosts        = 16
	defaultAddrsPerHost = 4
	defaultAddrs        = 32
	listedLeftOut       = 100
)

// Family is which kinds of addresses a host may be reached at.
type Family uint8

// The families.
const (
	BothFamilies Family = iota
	IPv4Only
	IPv6Only
)

var familyNames = [...]string{"both", "ipv4", "ipv6"}

// String is both, ipv4 or ipv6.
func (f Family) String() string { return enum.String("mx.Family", familyNames[:], f) }

// MarshalText is String, for JSON and the like. It fails for a value that has no name.
func (f Family) MarshalText() ([]byte, error) { return enum.Marshal("mx.Family", familyNames[:], f) }

// UnmarshalText reads what MarshalText writes, and nothing else.
func (f *Family) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mx.Family", familyNames[:], f, text)
}

// FamilyOrder is the order of the two families of one host. Within a family the
// order is the resolver's.
type FamilyOrder uint8

// The orders.
const (
	Alternate  FamilyOrder = iota // IPv6, IPv4, IPv6, ...: one broken family costs one address
	PreferIPv4                    // all IPv4 first
	PreferIPv6                    // all IPv6 first (RFC 3974 section 3)
)

var orderNames = [...]string{"alternate", "ipv4-first", "ipv6-first"}

// String is alternate, ipv4-first or ipv6-first.
func (o FamilyOrder) String() string { return enum.String("mx.FamilyOrder", orderNames[:], o) }

// MarshalText is String, for JSON and the like. It fails for a value that has no name.
func (o FamilyOrder) MarshalText() ([]byte, error) {
	return enum.Marshal("mx.FamilyOrder", orderNames[:], o)
}

// UnmarshalText reads what MarshalText writes, and nothing else.
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
		problems = append(problems, fmt.Errorf("mx.Router.Family: %d is no family", r.Family))
	}
	if r.Order > PreferIPv6 {
		problems = append(problems, fmt.Errorf("mx.Router.Order: %d is no order", r.Order))
	}
	if slices.Contains(r.SelfPorts, 0) {
		problems = append(problems, errors.New("mx.Router.SelfPorts: 0 is no port"))
	}
	for i, a := range r.SelfAddrs {
		if !a.IsValid() {
			problems = append(problems, fmt.Errorf("mx.Router.SelfAddrs[%d]: not an address", i))
		}
	}
	_, err := canonicalSelf(r.Self)
	return errors.Join(append(problems, err)...)
}

// noSuchDomain is the outcome if a domain does not exist.
func (r *Router) noSuchDomain() Outcome {
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
