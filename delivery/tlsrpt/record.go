package tlsrpt

import (
	"context"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/internal/enum"
	"github.com/nexthop-mail/nexthop/mx"
)

// Record is a domain's request for reports: where to send them (RFC 8460 section 3).
type Record struct {
	// Targets are where reports go, in the order of the record.
	Targets []Target

	// Notes describe, for people, what is unusual in the record and which parts of it
	// are ignored.
	Notes []string
}

// Kind is how a report is sent.
type Kind uint8

// The kinds of targets.
const (
	// Mail is a URI with the scheme mailto.
	Mail Kind = iota + 1
	// HTTPS is a URI with the scheme https.
	HTTPS
)

var kindNames = [...]string{"none", "mailto", "https"}

// String returns the scheme: mailto or https, or none for the zero value.
func (k Kind) String() string { return enum.String("tlsrpt.Kind", kindNames[:], k) }

// MarshalText returns the same text as String, for JSON. It fails for a value without a
// name.
func (k Kind) MarshalText() ([]byte, error) { return enum.Marshal("tlsrpt.Kind", kindNames[:], k) }

// UnmarshalText reads only the texts that MarshalText writes.
func (k *Kind) UnmarshalText(text []byte) error {
	return enum.Unmarshal("tlsrpt.Kind", kindNames[:], k, text)
}

// Target is one place to which a domain wants its reports sent.
type Target struct {
	// Kind is the transport.
	Kind Kind

	// URI is the target in canonical form.
	URI string

	// Address is the mailbox, if Kind is Mail.
	Address string

	// Host is the domain of the mailbox, or the host of the URL.
	Host string
}

// Limits of a record.
const (
	mostTargets = 10
	mostURI     = 1024
)

// RecordError says why a domain gets no reports.
type RecordError struct {
	// Reason says in a few words what is wrong with the record, or that there is none.
	Reason string
	// Notes are the Notes of the record.
	Notes []string
}

// Error returns the reason and the notes.
func (e *RecordError) Error() string {
	return strings.Join(append([]string{"TLSRPT record: " + e.Reason}, e.Notes...), "; ")
}

// ParseRecord reads a domain's record from all TXT records at _smtp._tls. Records that
// do not begin with "v=TLSRPTv1;" do not count. Exactly one must be left, and it must
// have at least one usable target. Other errors in it are ignored, with a note. The
// error is a *RecordError.
func ParseRecord(records []string) (Record, error) {
	found, n := "", 0
	for _, text := range records {
		if rest, ok := strings.CutPrefix(text, "v=TLSRPTv1"); ok {
			if rest, ok = strings.CutPrefix(strings.TrimLeft(rest, " \t"), ";"); ok {
				found, n = rest, n+1
			}
		}
	}
	switch n {
	case 0:
		return Record{}, &RecordError{Reason: "the domain has none"}
	case 1:
	default:
		return Record{}, &RecordError{Reason: "there are several"}
	}
	var r Record
	fields := 0
	for _, field := range strings.Split(found, ";") {
		name, value, ok := strings.Cut(strings.Trim(field, " \t"), "=")
		if strings.TrimRight(name, " \t") != "rua" || !ok {
			continue // a field to come
		}
		fields++
		for _, uri := range strings.Split(value, ",") {
			r.add(strings.Trim(uri, " \t"))
		}
	}
	switch {
	case fields == 0:
		return Record{}, &RecordError{Reason: "it has no rua", Notes: r.Notes}
	case len(r.Targets) == 0:
		return Record{}, &RecordError{Reason: "no rua is a target for reports", Notes: r.Notes}
	}
	return r, nil
}

// add takes one URI of a record.
func (r *Record) add(uri string) {
	target, why := parseTarget(uri)
	switch {
	case why != "":
		r.note(uri, why)
	case len(r.Targets) == mostTargets:
		r.note(uri, "too many targets")
	case slices.Contains(r.Targets, target):
		r.note(uri, "it is there twice")
	default:
		r.Targets = append(r.Targets, target)
	}
}

func (r *Record) note(uri, why string) {
	const most = 20
	if len(r.Notes) < most {
		r.Notes = append(r.Notes, "rua "+clean(uri, 100)+": "+why)
	}
}

// parseTarget parses a URI; why says why it is not a target.
func parseTarget(uri string) (t Target, why string) {
	switch {
	case uri == "":
		return t, "it is empty"
	case len(uri) > mostURI:
		return t, "it is too long"
	case strings.ContainsFunc(uri, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
		return t, "it has characters that no URI has"
	}
	scheme, rest, ok := strings.Cut(uri, ":")
	switch {
	case !ok:
		return t, "it has no scheme"
	case strings.EqualFold(scheme, "mailto"):
		return parseMailto(rest)
	case strings.EqualFold(scheme, "https"):
		return parseHTTPS(uri)
	}
	return t, "reports go by mailto and https"
}

// withoutBrackets is an address without the brackets that people write around it.
func withoutBrackets(s string) string {
	if inner, ok := strings.CutPrefix(s, "<"); ok {
		return strings.TrimSuffix(inner, ">")
	}
	return s
}

// parseMailto reads what follows "mailto:" (RFC 6068). Only the address counts, and if
// there are several, the first.
func parseMailto(rest string) (t Target, why string) {
	rest, _, _ = strings.Cut(rest, "?")
	rest = strings.TrimPrefix(rest, "//") // people write it like a URL
	text, err := url.PathUnescape(rest)
	if err != nil {
		return t, "it is not encoded as a URI"
	}
	// DMARC's limits of size, which this is often copied from.
	if at := strings.LastIndexByte(text, '!'); at > strings.LastIndexByte(text, '@') {
		text = text[:at]
	}
	box, err := address.Parse(withoutBrackets(text))
	if err != nil {
		if text, _, _ = strings.Cut(text, ","); text != "" {
			box, err = address.Parse(withoutBrackets(text))
		}
	}
	if err != nil {
		return t, "its address is none"
	}
	plain, ok := box.Key().ASCII()
	if !ok {
		return t, "its address is not ASCII"
	}
	if _, literal := box.Domain().Literal(); literal {
		return t, "its address has no domain"
	}
	return Target{Kind: Mail, URI: "mailto:" + plain, Address: plain, Host: box.Domain().String()}, ""
}

// parseHTTPS reads a URL.
func parseHTTPS(uri string) (t Target, why string) {
	u, err := url.Parse(uri)
	if err != nil {
		return t, "it is not a valid URL"
	}
	switch {
	case u.Host == "" || u.Hostname() == "":
		return t, "it has no host"
	case u.User != nil:
		return t, "it has a user name"
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err != nil {
		d, err := address.ParseDomain(host)
		if err != nil {
			return t, "its host is none"
		}
		host = d.String()
	}
	u.Scheme, u.Fragment, u.RawFragment = "https", "", ""
	if port := u.Port(); port != "" && port != "443" {
		u.Host = joinHostPort(host, port)
	} else {
		u.Host = joinHostPort(host, "")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return Target{Kind: HTTPS, URI: u.String(), Host: host}, ""
}

// joinHostPort is a host as a URL has it.
func joinHostPort(host, port string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" {
		host += ":" + port
	}
	return host
}

// Lookup asks DNS for the record of a domain, which must be in canonical form. The
// error is a *RecordError if the domain wants no reports, and a *mx.ResolveError if DNS
// does not answer for now.
func Lookup(ctx context.Context, resolver mx.Resolver, domain string) (Record, error) {
	answer, err := mx.Follow(ctx, resolver, "_smtp._tls."+domain, mx.TypeTXT)
	if err != nil {
		return Record{}, err
	}
	return ParseRecord(answer.TXT)
}
