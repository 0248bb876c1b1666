package mx

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// FromNet returns a Resolver that uses r, or net.DefaultResolver if r is nil. It is for
// systems without /etc/resolv.conf, and for programs with a net.Resolver of their own. It
// knows less than a Client. It cannot tell a name that does not exist from one without
// records (NotFound). Its answers have no TTL, so they are not cached. They are never
// secure and have no aliases. Names are absolute, so no search list is applied. It answers
// for A, AAAA, MX, TXT and SRV; for other types the error wraps errors.ErrUnsupported.
func FromNet(r *net.Resolver) Resolver {
	if r == nil {
		r = net.DefaultResolver
	}
	return netResolver{r}
}

type netResolver struct{ net *net.Resolver }

// Resolve implements Resolver.
func (r netResolver) Resolve(ctx context.Context, name string, t Type) (Answer, error) {
	a := Answer{Status: Success, Name: name}
	err := r.look(ctx, &a, name+".", t)
	if !empty(a, t) && known(t) && t != TypeCNAME {
		// An error together with records is about malformed ones that net left out.
		return a, nil
	}
	de, ok := errors.AsType[*net.DNSError](err)
	switch {
	case err == nil:
		err = errNoRecords
	case ok && de.IsNotFound && ended(ctx) == nil:
		return Answer{Status: NotFound, Name: name}, nil
	}
	return Answer{}, &ResolveError{Name: name, Type: t, Server: serverOf(de), Kind: netFailure(ctx, de), Err: err}
}

// look asks the question of type t and adds the records to a.
func (r netResolver) look(ctx context.Context, a *Answer, name string, t Type) error {
	switch t {
	case TypeA, TypeAAAA:
		network := "ip4"
		if t == TypeAAAA {
			network = "ip6"
		}
		addrs, err := r.net.LookupNetIP(ctx, network, name)
		for _, addr := range addrs {
			a.Addrs = append(a.Addrs, addr.Unmap())
		}
		a.Addrs = slices.DeleteFunc(a.Addrs, func(addr netip.Addr) bool { return addr.Is4() != (t == TypeA) })
		return err
	case TypeMX:
		records, err := r.net.LookupMX(ctx, name)
		for _, record := range records {
			a.MX = append(a.MX, MX{Preference: record.Pref, Host: canonicalOwner(record.Host)})
		}
		return err
	case TypeTXT:
		var err error
		a.TXT, err = r.net.LookupTXT(ctx, name)
		return err
	case TypeSRV:
		_, records, err := r.net.LookupSRV(ctx, "", "", name)
		for _, record := range records {
			a.SRV = append(a.SRV, SRV{
				Priority: record.Priority, Weight: record.Weight, Port: record.Port,
				Target: canonicalOwner(record.Target),
			})
		}
		return err
	default:
		return errors.ErrUnsupported
	}
}

// serverOf is the server that net asked, if it says.
func serverOf(e *net.DNSError) string {
	if e == nil {
		return ""
	}
	return strings.TrimSpace(e.Server)
}

// netFailure converts an error of package net.
func netFailure(ctx context.Context, e *net.DNSError) ResolveErrorKind {
	switch {
	case ended(ctx) != nil:
		return Canceled
	case e == nil:
		return NoAnswer
	case e.IsTimeout:
		return Timeout
	case e.IsTemporary:
		return ServFail
	default:
		return NoAnswer
	}
}
