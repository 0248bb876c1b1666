package mx

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// turn is the time of one server for one question: queries in one way after another, as
// the table of inabilities says, for at most twice the Timeout.
type turn struct {
	client *Client
	server Server
	name   string
	t      Type

	timeout time.Duration
	tcpOnly bool
	doubted bool // queries with EDNS have met silence, here or before
	over    bool // the server has sent its final response to the question

	// Of the turn that is on:
	out       [TCP + 1]bool // what the server is known to do without
	tried     [wide + 1]bool
	truncated bool
	heard     bool // anything came back
	detours   []detour
	failed    ways
	partial   *Answer  // records, but not all of them
	spoken    *failure // a sound response that is not an answer
}

// detour is a row that was followed, and why.
type detour struct {
	row inability
	why error
}

// run is the server's turn.
func (u *turn) run(ctx context.Context) (Answer, *failure) {
	now := time.Now()
	ctx, cancel := context.WithDeadline(ctx, now.Add(2*u.timeout))
	defer cancel()
	u.begin(now)
	a, f := u.follow(ctx)
	habits := &u.client.habits
	if ended(ctx) == nil || u.heard { // else the time may have been too short, not the server too slow
		habits.note(u.server.Addr, u.heard, time.Now())
	}
	u.over = u.heard
	return a, f
}

// begin forgets the turn before, and decides whether to begin without EDNS: each
// turn that meets silence is followed by one of the other kind.
func (u *turn) begin(now time.Time) {
	var doubted bool
	u.out, doubted = u.client.habits.leftOut(u.server.Addr, now)
	u.doubted = u.doubted || doubted
	u.tried, u.truncated, u.heard, u.detours, u.failed = [wide + 1]bool{}, false, false, nil, nil
	u.partial, u.spoken = nil, nil
}

// first is the way a turn begins.
func (u *turn) first() way {
	switch {
	case u.out[UDP] && !u.tcpOnly:
		return stream
	case u.out[EDNS]:
		return noEDNS
	case u.doubted:
		row, _ := withEDNS.instead(silent)
		u.detours = append(u.detours, detour{row, errSilent})
		return noEDNS
	default:
		return withEDNS
	}
}

// follow asks in one way after another until there is an answer or no way is left.
func (u *turn) follow(ctx context.Context) (Answer, *failure) {
	for w := u.first(); w != noWay; {
		u.tried[w] = true
		a, s, f := u.try(ctx, w)
		if s == answered {
			u.learn(w, f)
			if f == nil {
				return a, nil
			}
			u.spoken = f
		}
		if f != nil {
			u.failed = append(u.failed, wayFailure{w, f})
		}
		w = u.next(ctx, w, s, f)
	}
	if u.partial != nil {
		return *u.partial, nil
	}
	return Answer{}, u.failure()
}

// next is the way to try after w met s; noWay ends the turn.
func (u *turn) next(ctx context.Context, w way, s sign, f *failure) way {
	row, ok := w.instead(s)
	if (s == silent || s == cutOff) && w != wide {
		// Next time it is asked in the other way.
		u.doubted = ok && row.later
		u.client.habits.doubt(u.server.Addr, u.doubted)
	}
	if ctx.Err() != nil {
		return noWay
	}
	if w == wide && u.truncated && !u.tried[stream] {
		return stream // which did not work lately, but may
	}
	if !ok || row.later {
		return noWay
	}
	to := row.try
	if to == stream && s == truncated {
		u.truncated = true
		if u.out[TCP] {
			to = wide
		}
	}
	switch {
	case u.tried[to], u.tcpOnly && to >= stream, to == wide && !u.truncated:
		return noWay
	}
	if row.remain > 0 && f != nil {
		u.detours = append(u.detours, detour{row, f.because()})
	} else if row.remain > 0 {
		u.detours = append(u.detours, detour{row, errHalf})
	}
	return to
}

var (
	errSilent = errors.New("no response")
	errHalf   = errors.New("the response is not complete")
	errHollow = errors.New("an empty response, as of a server that does not know EDNS")
)

// learn remembers what the server does without, now that it has answered without it:
// a code is an answer only if it was silent before, or has refused as such.
func (u *turn) learn(w way, f *failure) {
	now := time.Now()
	if w == withEDNS {
		u.client.habits.hasEDNS(u.server.Addr)
	}
	for _, d := range u.detours {
		if f != nil && (d.row.sign == refusing || d.row.sign == damaged || d.row.sign == hollow) {
			continue
		}
		if d.row.means == EDNS && w.means() == EDNS {
			continue // it has EDNS after all
		}
		u.client.habits.leaveOut(u.server.Addr, d.row.means, now.Add(d.row.remain))
		u.client.Trace.without(u.server.Addr, d.row.means, d.why, d.row.remain)
	}
	u.detours = nil
}

// try asks in one way. With an answer that should be had in another way, too, there
// is a sign other than answered and perhaps no failure.
func (u *turn) try(ctx context.Context, w way) (Answer, sign, *failure) {
	network, size, limit := "udp", u.client.udpSize(), u.timeout
	switch w {
	case wide:
		size = wideSize
	case noEDNS:
		size = 0
		if u.doubted && !u.tcpOnly {
			limit /= 2 // the other half is for TCP
		}
	case stream:
		network = "tcp"
		if u.out[EDNS] || u.tried[noEDNS] {
			size = 0
		}
		if u.tried[noEDNS] && !u.truncated {
			limit /= 2
		}
	}
	if u.tcpOnly {
		network = "tcp"
	}
	q, m, f := u.client.exchange(ctx, limit, network, u.server, u.name, u.t, size)
	if f != nil {
		return Answer{}, u.signOf(f), f
	}
	u.heard = true
	return u.read(w, q, m)
}

// wideSize is the room for responses over UDP if TCP does not work.
const wideSize = 4096

// signOf is what a failed exchange is a sign of.
func (u *turn) signOf(f *failure) sign {
	switch f.kind {
	case Timeout:
		return silent
	case Malformed:
		u.heard = true
		return damaged
	default:
		return cutOff
	}
}

// read returns the answer in a response, or the sign of an inability that it shows.
func (u *turn) read(w way, q *query, m *message) (Answer, sign, *failure) {
	if m.flags&flagTC != 0 && !m.isRefusal() {
		return Answer{}, truncated, &failure{kind: Truncated}
	}
	a, f := q.interpret(m, u.server.TrustAD)
	switch {
	case f != nil && f.kind == Bogus:
		return a, answered, f
	case m.rcode == dns.RcodeFormatError || m.rcode == dns.RcodeNotImplemented || m.rcode == dns.RcodeBadVers:
		return a, denied, f
	case m.isRefusal() && (q.edns && !m.edns || w == stream && u.truncated):
		return a, refusing, f
	case f != nil && f.kind == Malformed:
		return a, damaged, f
	case f != nil && errors.Is(f.cause, errNotServed) && (q.edns || w == stream && u.truncated):
		return a, hollow, f
	case f != nil:
		return a, answered, f
	case a.Status == NoData && !m.hasSOA(a.Name) && !m.edns && (q.edns || w == stream && u.truncated):
		return a, hollow, &failure{Malformed, errHollow}
	case a.Unreadable > 0 || m.cut:
		u.partial = &a
		return a, damaged, nil
	}
	return a, answered, nil
}

// failure returns the result of a turn without an answer: the failure that came closest
// to one.
func (u *turn) failure() *failure {
	if u.spoken != nil {
		return u.spoken
	}
	if len(u.failed) == 0 {
		return &failure{kind: NoAnswer}
	}
	best := *u.failed[0].failure
	for _, w := range u.failed[1:] {
		if closeness(w.kind) >= closeness(best.kind) {
			best = *w.failure
		}
	}
	if len(u.failed) > 1 {
		best.cause = u.failed
	}
	return &best
}

// because is the failure as an error.
func (f *failure) because() error {
	if f.cause != nil {
		return f.cause
	}
	if f.kind == Timeout {
		return errSilent
	}
	return errors.New(f.kind.String())
}

// ways are the failures of a turn.
type ways []wayFailure

type wayFailure struct {
	way way
	*failure
}

// Error lists the ways that were tried, with their results.
func (w ways) Error() string {
	var b strings.Builder
	for i, f := range w {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.way.String() + ": " + f.because().Error())
	}
	return b.String()
}

// Unwrap is the causes.
func (w ways) Unwrap() []error {
	var causes []error
	for _, f := range w {
		causes = append(causes, f.because())
	}
	return causes
}

// String describes the way in a few words.
func (w way) String() string {
	switch w {
	case withEDNS:
		return "with EDNS"
	case noEDNS:
		return "without EDNS"
	case stream:
		return "over TCP"
	default:
		return "over UDP at any size"
	}
}
