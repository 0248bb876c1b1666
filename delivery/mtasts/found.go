package mtasts

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/internal/enum"
)

// Found is what was found out about the policy of a domain.
type Found struct {
	// Domain is the domain, in canonical form.
	Domain string `json:"domain"`

	// Record is what there was in DNS: the id of the policy, or why there is no live
	// one, in a few words.
	Record string `json:"record"`

	// Origin is where the Policy comes from.
	Origin Origin `json:"origin"`

	// Policy is the one in force; nil if there is none. One of mode none is as good as
	// none, and is here so that people can see it.
	Policy *Policy `json:"policy,omitempty"`

	// ID is the id it was fetched with, Fetched is when, and Expires is when it is no
	// longer in force.
	ID      string    `json:"id,omitempty"`
	Fetched time.Time `json:"fetched,omitzero"`
	Expires time.Time `json:"expires,omitzero"`

	// Err is why a policy that there should be could not be fetched: an *Error. There
	// may be a Policy all the same, an older one.
	Err error `json:"-"`
}

// Origin is where a policy comes from.
type Origin uint8

// The origins.
const (
	// NoPolicy: there is none.
	NoPolicy Origin = iota
	// Fetched: it was fetched just now.
	Fetched
	// Live: it was stored, and the record in DNS has its id.
	Live
	// Cached: it was stored, and DNS says nothing of it any more, or had no answer.
	Cached
	// Kept: it was stored, and another that DNS speaks of could not be fetched.
	Kept
)

var originNames = [...]string{"no policy", "fetched", "live", "cached", "kept"}

// String is the origin in a word.
func (o Origin) String() string { return enum.String("mtasts.Origin", originNames[:], o) }

// MarshalText is String, for JSON. It fails for a value that has no name.
func (o Origin) MarshalText() ([]byte, error) {
	return enum.Marshal("mtasts.Origin", originNames[:], o)
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (o *Origin) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mtasts.Origin", originNames[:], o, text)
}

// use makes an entry the policy that was found.
func (f *Found) use(e *Entry, from Origin) {
	f.Policy, f.Origin, f.ID, f.Fetched, f.Expires = &e.Policy, from, e.ID, e.Fetched, e.Expires()
}

// Applies reports whether the policy has something to say of hosts: it is in force, and
// of mode testing or enforce.
func (f *Found) Applies() bool { return f.Policy != nil && f.Policy.Mode != None }

// Enforced reports whether a host that is not as the policy says must not have mail.
func (f *Found) Enforced() bool { return f.Policy != nil && f.Policy.Mode == Enforce }

// ResultType is what reports count the Err as; empty if there is none.
func (f *Found) ResultType() ResultType {
	if e, ok := errors.AsType[*Error](f.Err); ok {
		return e.Type
	}
	return ""
}

// String tells people what was found, line by line.
func (f *Found) String() string {
	var b strings.Builder
	domain := f.Domain
	if _, err := address.ParseDomain(domain); err != nil {
		domain = strconv.Quote(domain) // it may be anything
	}
	fmt.Fprintf(&b, "MTA-STS of %s: %s, in DNS: %s\n", domain, f.Origin, f.Record)
	if p := f.Policy; p != nil {
		fmt.Fprintf(&b, "  mode %s, id %s, fetched %s, in force until %s\n", p.Mode, f.ID,
			f.Fetched.UTC().Format(time.RFC3339), f.Expires.UTC().Format(time.RFC3339))
		if len(p.MX) > 0 {
			fmt.Fprintf(&b, "  hosts %s\n", strings.Join(p.MX, ", "))
		}
		for _, note := range p.Notes {
			fmt.Fprintf(&b, "  note: %s\n", note)
		}
	}
	if f.Err != nil {
		fmt.Fprintf(&b, "  %s\n", f.Err)
	}
	return b.String()
}
