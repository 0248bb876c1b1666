package mx

import (
	"time"

	"github.com/nexthop-mail/nexthop/internal/enum"
)

// Means is a way of asking a DNS server that a Client can do without.
type Means uint8

// The means.
const (
	NoMeans Means = iota
	EDNS          // queries with EDNS0 (RFC 6891), which allow UDP responses of more than 512 octets
	UDP           // UDP responses of any size that matters
	TCP           // DNS over TCP, for responses that UDP truncates (RFC 7766)
)

var meansNames = [...]string{"none", "EDNS", "UDP", "TCP"}

// String returns none, EDNS, UDP or TCP.
func (m Means) String() string { return enum.String("mx.Means", meansNames[:], m) }

// MarshalText returns the text of String. It fails for a value without a name.
func (m Means) MarshalText() ([]byte, error) { return enum.Marshal("mx.Means", meansNames[:], m) }

// UnmarshalText reads the form that MarshalText writes, and no other.
func (m *Means) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mx.Means", meansNames[:], m, text)
}

// sign is what a question met, as far as it says what the server, or the path to
// it, can do.
type sign uint8

const (
	answered  sign = iota // a sound response, be it SERVFAIL
	denied                // FORMERR, NOTIMP or BADVERS, with or without the question
	refusing              // SERVFAIL, REFUSED or another code; to EDNS, without EDNS
	damaged               // a response that is cut, contradicts itself, or lacks or misplaces records
	hollow                // no record, no SOA record and no EDNS: like a server that skips what it does not know
	truncated             // TC
	silent                // no message, or none that is a response to the query
	cutOff                // no connection, or it was reset or closed
)

// inability is a row of the table: a sign that a server, or the path to it, does not
// support a means, and what is done instead.
type inability struct {
	means  Means
	sign   sign
	try    way           // how the server is asked instead
	later  bool          // when its next turn comes, not at once
	remain time.Duration // how long it is asked in this way, once that has worked
}

// The ways to ask a server.
type way uint8

const (
	noWay    way = iota
	withEDNS     // over UDP with room for Client.UDPSize octets
	noEDNS       // over UDP without EDNS: 512 octets
	stream       // over TCP, with EDNS unless the server does without
	wide         // over UDP with room for 4,096 octets, which may be fragmented
)

// How long it is remembered that a server lacks something. A response code says what is
// missing; silence and damage may be caused by the path or by chance.
const (
	remainTold    = time.Hour
	remainGuessed = 10 * time.Minute
)

// inabilities is what a server, or the path to it, may be unable to do. A sign that
// is not listed leads to the next server. Each way is tried once in a turn, so that
// a turn has four queries at most. Without EDNS a server has UDP for 512 octets.
var inabilities = [...]inability{
	// A server that does not know EDNS, or a middlebox that does not.
	{EDNS, denied, noEDNS, false, remainTold},
	{EDNS, refusing, noEDNS, false, remainTold},
	{EDNS, damaged, noEDNS, false, remainGuessed},
	{EDNS, hollow, noEDNS, false, remainGuessed},
	// As above, or the path loses large datagrams; without EDNS there are none.
	{EDNS, silent, noEDNS, true, remainGuessed},
	{EDNS, cutOff, noEDNS, true, remainGuessed},
	// What was remembered about the server is no longer true.
	{UDP, denied, withEDNS, false, 0},
	// A path that loses smaller datagrams too, or cuts them without a word.
	{UDP, silent, stream, false, remainGuessed},
	{UDP, damaged, stream, false, remainGuessed},
	{UDP, cutOff, stream, false, remainGuessed},
	// Not an inability but the way it is meant to be (RFC 2181 section 9).
	{EDNS, truncated, stream, false, 0},
	{UDP, truncated, stream, false, 0},
	// A server, or a firewall, without DNS over TCP.
	{TCP, cutOff, wide, false, remainGuessed},
	{TCP, silent, wide, false, remainGuessed},
	{TCP, damaged, wide, false, remainGuessed},
	{TCP, hollow, wide, false, remainGuessed},
	{TCP, denied, wide, false, remainGuessed},
	{TCP, refusing, wide, false, remainGuessed},
	{TCP, truncated, wide, false, remainGuessed},
}

// means is what a way depends on.
func (w way) means() Means {
	switch w {
	case withEDNS, wide:
		return EDNS
	case noEDNS:
		return UDP
	case stream:
		return TCP
	default:
		return NoMeans
	}
}

// instead returns the row for a sign met on a way. ok is false if nothing else can be
// done.
func (w way) instead(s sign) (inability, bool) {
	if w == wide {
		return inability{}, false // the last resort
	}
	for _, row := range inabilities {
		if row.means == w.means() && row.sign == s {
			return row, true
		}
	}
	return inability{}, false
}
