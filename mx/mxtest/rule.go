package mxtest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/enum"
	"github.com/nexthop-mail/nexthop/mx"
)

// Rule changes the answers to certain questions. The zero value applies to every question
// and changes nothing.
//
// A rule about a name also applies if an answer reaches that name through an alias.
type Rule struct {
	// Name is the name asked for. "*.example.com" is every name below example.com, and "*"
	// every name. If empty, the rule applies to every name that is itself asked for, but
	// not to the targets of aliases.
	Name string

	// Type is the type asked for. Default: every type.
	Type mx.Type

	// Transport is "udp" or "tcp". Default: both. If it is set, the rule does not apply to
	// the fake resolver.
	Transport string

	// EDNS limits the rule to queries with EDNS or without. Default: both. If it is set,
	// the rule does not apply to the fake resolver. A rule for queries with EDNS acts as a
	// server that does not know EDNS: its responses have no EDNS, except BADVERS.
	EDNS EDNS

	// Over limits the rule to questions whose right response over UDP is longer than this,
	// like a path that drops large datagrams. It applies neither to TCP nor to the fake
	// resolver.
	Over int

	// Times is how often the rule applies to one name and type before the next rule does.
	// Default: always. Each name and type is counted separately, so that the order of
	// parallel questions does not matter.
	Times int

	// Fault is what goes wrong. Default: nothing.
	Fault Fault

	// Delay is how long an answer, or a fault, takes.
	Delay time.Duration

	// ThenAnswer makes the right answer follow the faulty message of WrongID,
	// WrongQuestion, OtherOpcode, Garbage or Malformed.
	ThenAnswer bool

	// Records, if not empty, replace all records of Name in the zone, for the types that
	// the rule applies to. They are zone text without the owner, one record a line ("60 MX
	// 10 mail.example.net.").
	Records string
}

// EDNS says whether a query has an OPT record (RFC 6891).
type EDNS uint8

// The kinds of query.
const (
	AnyEDNS EDNS = iota
	WithEDNS
	WithoutEDNS
)

var ednsNames = [...]string{"any", "with", "without"}

// String returns any, with or without.
func (e EDNS) String() string { return enum.String("mxtest.EDNS", ednsNames[:], e) }

// MarshalText returns the text of String. It fails for a value without a name.
func (e EDNS) MarshalText() ([]byte, error) { return enum.Marshal("mxtest.EDNS", ednsNames[:], e) }

// UnmarshalText reads the form that MarshalText writes, and no other.
func (e *EDNS) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mxtest.EDNS", ednsNames[:], e, text)
}

// Fault is what goes wrong with a question.
type Fault uint8

// The faults. Each comment says what is on the wire and, in parentheses, the result of a
// careful client, which the fake resolver returns.
const (
	// None: nothing goes wrong.
	None Fault = iota
	// NXDomain: the name does not exist, whatever the zone has.
	NXDomain
	// NoData: the name exists, without records of the type asked for.
	NoData
	// ServFail: response code SERVFAIL (mx.ServFail).
	ServFail
	// Refused: response code REFUSED (mx.QueryRefused).
	Refused
	// FormErr: response code FORMERR (mx.QueryRefused).
	FormErr
	// NotImp: response code NOTIMP (mx.QueryRefused).
	NotImp
	// Bogus: SERVFAIL with the extended error "DNSSEC Bogus" (RFC 8914 code 6) if the
	// query has EDNS. With the CD bit, the records (mx.Bogus).
	Bogus
	// Lame: a referral to other servers and no answer (mx.Lame).
	Lame
	// Timeout: no response at all (mx.Timeout).
	Timeout
	// Hangup: over TCP the connection is closed without a response, over UDP
	// there is none (mx.Timeout).
	Hangup
	// Truncated: over UDP half of the records, if there are any, and the TC bit;
	// TCP works (the answer).
	Truncated
	// TruncatedAlways: Truncated, and Hangup over TCP (mx.Truncated).
	TruncatedAlways
	// AliasOnly: the first alias of a chain, without its target (an answer of status
	// mx.Aliased). Names that are not aliases are answered.
	AliasOnly
	// OtherName: the question is repeated, but the records are about another
	// name (mx.Malformed).
	OtherName
	// WrongID: the response has another id (mx.Timeout).
	WrongID
	// WrongQuestion: the response repeats another question (mx.Timeout).
	WrongQuestion
	// Garbage: octets that are not a DNS message (mx.Timeout).
	Garbage
	// Malformed: the response ends inside its first record (mx.Malformed).
	Malformed
	// BadVers: response code BADVERS to EDNS, FORMERR without it (mx.QueryRefused).
	BadVers
	// BareFormErr: FORMERR in a header without sections, which has the counts of the query
	// (mx.QueryRefused).
	BareFormErr
	// Reset: the connection is reset; over UDP, the port is closed (mx.Unreachable). A
	// Server resets TCP connections, and sends nothing over UDP.
	Reset
	// Cut: the response ends in the middle, without TC (mx.Malformed).
	Cut
	// Empty: a successful response without records, SOA record and EDNS (no data, to be
	// used once).
	Empty
	// NoSOA: a negative answer without an SOA record (the answer, to be used once).
	NoSOA
	// NotServed: like Empty, from a server that is neither recursive nor authoritative for
	// the name (mx.Lame).
	NotServed
	// Misplaced: the response is appended to the query, so that the query's OPT record
	// becomes an answer, and the last answer an additional record. Without EDNS, the right
	// response (the answer).
	Misplaced
	// Uncounted: the records follow the question, and none is counted
	// (mx.Malformed).
	Uncounted
	// LastLost: the last record is there but not counted (mx.Malformed; for addresses and
	// texts, the other records).
	LastLost
	// LastBroken: the data of the last record is one octet (the other records, and one
	// that cannot be read; mx.Malformed if there are no others, except for TLSA records).
	LastBroken
	// Contradicts: the records, with the code for a name that does not exist
	// (mx.Malformed).
	Contradicts
	// OtherType: a record of another type instead of those asked for (mx.Malformed).
	OtherType
	// OtherClass: the records are of another class (mx.Malformed).
	OtherClass
	// OtherSection: the records are in the authority section (mx.Malformed).
	OtherSection
	// OtherOpcode: the response has another opcode (mx.Timeout).
	OtherOpcode

	faults // how many there are
)

var faultNames = [faults]string{
	"none", "NXDOMAIN", "no data", "SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "bogus", "lame",
	"timeout", "hangup", "truncated", "truncated always", "alias only", "other name", "wrong id",
	"wrong question", "garbage", "malformed", "BADVERS", "bare FORMERR", "reset", "cut", "empty", "no SOA",
	"not served", "misplaced", "uncounted", "last record lost", "last record broken", "contradicts",
	"other type", "other class", "other section", "other opcode",
}

// String describes the fault in a few words.
func (f Fault) String() string { return enum.String("mxtest.Fault", faultNames[:], f) }

// MarshalText returns the text of String. It fails for a value without a name.
func (f Fault) MarshalText() ([]byte, error) { return enum.Marshal("mxtest.Fault", faultNames[:], f) }

// UnmarshalText reads the form that MarshalText writes, and no other.
func (f *Fault) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mxtest.Fault", faultNames[:], f, text)
}

// isNoise reports whether the fault is a message that is not an answer, so that the right
// one may follow.
func (f Fault) isNoise() bool {
	return f == WrongID || f == WrongQuestion || f == Garbage || f == Malformed || f == OtherOpcode
}

// rule is a Rule in use.
type rule struct {
	Rule
	name    string // Name, canonical
	below   bool   // Name is "*." and name
	used    map[question]int
	records *zone // Records as parsed; nil if there are none
	err     error
}

// newRule prepares a rule for use; err says what is wrong with it.
func newRule(r Rule) *rule {
	made := &rule{Rule: r, name: canonical(r.Name), used: make(map[question]int)}
	if made.name == "*" {
		made.name = "*."
	}
	made.name, made.below = strings.CutPrefix(made.name, "*.")
	switch {
	case r.Transport != "" && r.Transport != "udp" && r.Transport != "tcp":
		made.err = fmt.Errorf("Transport: %q is neither udp nor tcp", r.Transport)
	case r.Fault >= faults:
		made.err = fmt.Errorf("Fault: undefined value %v", r.Fault)
	case r.EDNS > WithoutEDNS:
		made.err = fmt.Errorf("EDNS: undefined value %d", r.EDNS)
	case r.Over < 0:
		made.err = fmt.Errorf("Over: %d is negative", r.Over)
	case r.Times < 0:
		made.err = fmt.Errorf("Times: %d is negative", r.Times)
	case r.Delay < 0:
		made.err = fmt.Errorf("Delay: %v is negative", r.Delay)
	case r.Records != "" && (r.Name == "" || made.below):
		made.err = errors.New("Records: Name is required, too")
	case r.Records != "":
		made.records = readRecords(made.name, r.Records)
		if made.records.err != nil {
			made.err = fmt.Errorf("Records: %w", made.records.err)
		}
	}
	return made
}

// applies is whether r is for the question q, which is asked by x or, where asked is
// false, the end of an alias that x led to.
func (r *rule) applies(q question, x *Query, asked bool) bool {
	switch {
	case r.EDNS != AnyEDNS && (x.Transport == "" || (r.EDNS == WithEDNS) != (x.UDPSize > 0)):
		return false
	case r.Over > 0 && x.Transport != "udp":
		return false
	case r.Times > 0 && r.used[q] >= r.Times:
		return false
	case r.Type != 0 && r.Type != q.t:
		return false
	case r.Transport != "" && r.Transport != x.Transport:
		return false
	case r.below:
		return strings.HasSuffix(q.name, "."+r.name) || r.name == ""
	case r.Name == "":
		return asked
	}
	return r.name == q.name
}

// like is whether two rules are for the same questions.
func (r *rule) like(other *rule) bool {
	return r.name == other.name && r.below == other.below && r.Type == other.Type && r.Transport == other.Transport &&
		r.EDNS == other.EDNS && r.Over == other.Over
}

// ruleFor returns the first rule that applies, and counts its use, or nil if none does.
func (d *DNS) ruleFor(q question, x *Query, asked bool) *rule {
	for _, r := range d.rules {
		if r.applies(q, x, asked) {
			if r.Times > 0 {
				r.used[q]++
			}
			return r
		}
	}
	return nil
}
