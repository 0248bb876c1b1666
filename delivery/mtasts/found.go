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

// Found is the result of looking for the policy of a domain.
type Found struct {
	// Domain is the domain, in canonical form.
	Domain string `json:"domain"`

	// Record describes the result in DNS: the id of the policy, or in a few words why
	// there is no valid record.
	Record string `json:"record"`

	// Origin is where the Policy comes from.
	Origin Origin `json:"origin"`

	// Policy is the policy in force, or nil if there is none. A policy of mode none has
	// no effect, and is included for people to see.
	Policy *Policy `json:"policy,omitempty"`

	// ID is the id with which the policy was fetched. Fetched is the time of that, and
	// Expires the time until which the policy is in force.
	ID      string    `json:"id,omitempty"`
	Fetched time.Time `json:"fetched,omitzero"`
	Expires time.Time `json:"expires,omitzero"`

	// Unknown is why DNS has not said whether the domain has a policy; nil if it has.
	Unknown error `json:"-"`

	// Unread is why the Store has not said whether a policy is in force, if none was
	// fetched instead; nil if it has. There may be a policy of mode enforce then, so
	// that no mail must be sent before this is known.
	Unread error `json:"-"`

	// Err is an *Error if a policy should exist but could not be fetched. An older
	// Policy may be in force nevertheless.
	Err error `json:"-"`
}

// Origin is the source of a policy.
type Origin uint8

// The origins.
const (
	// NoPolicy: there is no policy.
	NoPolicy Origin = iota
	// Fetched: it was fetched just now.
	Fetched
	// Live: it was stored, and the record in DNS has its id.
	Live
	// Cached: it was stored, and DNS has no record any more, or no answer.
	Cached
	// Kept: it was stored, and the newer one that DNS announces could not be fetched.
	Kept
)

var originNames = [...]string{"no policy", "fetched", "live", "cached", "kept"}

// String returns the origin as one word.
func (o Origin) String() string { return enum.String("mtasts.Origin", originNames[:], o) }

// MarshalText returns the same text as String, for JSON. It fails for a value without a
// name.
func (o Origin) MarshalText() ([]byte, error) {
	return enum.Marshal("mtasts.Origin", originNames[:], o)
}

// UnmarshalText reads only the texts that MarshalText writes.
func (o *Origin) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mtasts.Origin", originNames[:], o, text)
}

// use makes an entry the policy that was found.
func (f *Found) use(e *Entry, from Origin) {
	f.Policy, f.Origin, f.ID, f.Fetched, f.Expires = &e.Policy, from, e.ID, e.Fetched, e.Expires()
}

// Applies reports whether hosts must be compared with the policy: it is in force, and
// its mode is testing or enforce.
func (f *Found) Applies() bool { return f.Policy != nil && f.Policy.Mode != None }

// Enforced reports whether a host that does not satisfy the policy must not receive
// mail.
func (f *Found) Enforced() bool { return f.Policy != nil && f.Policy.Mode == Enforce }

// ResultType returns the result type of Err for reports, or "" if there is no error.
func (f *Found) ResultType() ResultType {
	if e, ok := errors.AsType[*Error](f.Err); ok {
		return e.Type
	}
	return ""
}

// String describes for people what was found, line by line.
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
	if f.Unread != nil {
		fmt.Fprintf(&b, "  it is not known whether a policy is stored: %s\n", f.Unread)
	}
	return b.String()
}
