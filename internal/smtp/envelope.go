package smtp

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// earlyMost is how long content may be to go along with the envelope: little
// enough to be a small waste should every recipient be refused, and to be
// written while the replies come in.
const earlyMost = 256 << 10

// commandBuffer is room for an envelope of some recipients, and for one TLS
// record of content behind it.
const commandBuffer = 16 << 10

var commandBuffers = sync.Pool{New: func() any { return new([commandBuffer]byte) }}

// compose makes all commands before the first is sent, and decides what is sent
// together:
//
//   - Without PIPELINING each command waits for its reply.
//   - With it, the envelope is one group, and DATA its last command.
//   - With CHUNKING, too, the content is sent along. It is not sent along on a session
//     that has not answered a MAIL yet, or if the caller wants to Wait: there the
//     content comes after the replies, so that a host which hangs up at MAIL certainly
//     does not have it. It is not either if it is long, if an unfinished transaction may
//     have left recipients behind, or if it has lines that could be commands.
func (x *exchange) compose() (e *Error) {
	s, t := x.s, x.t
	x.grouped = x.p.has(OptPipelining)
	x.bdat = s.chunking() && (t.Binary || x.grouped || x.data != nil)
	x.early = x.grouped && x.bdat && x.data != nil && len(x.data) <= earlyMost &&
		x.warm && !t.Wait && !s.lingering && !hasCommands(x.data)
	x.reset = s.needReset

	buf, err := commandBuffers.Get().(*[commandBuffer]byte)[:0], error(nil)
	if x.reset {
		buf, err = appendCommand(buf, "RSET", "")
	}
	if err == nil {
		buf, err = s.appendMail(buf, t, x.p)
	}
	for i := range t.To {
		if x.res.Rcpts[i].State == offered && err == nil {
			buf, err = s.appendRcpt(buf, &t.To[i], x.p)
		}
	}
	switch {
	case err != nil:
		return &Error{Stage: StageMail, Kind: Local, Err: err}
	case x.early:
		buf = appendChunk(buf, len(x.data), true)
	case !x.bdat:
		buf, _ = appendCommand(buf, "DATA", "") // a constant has no invalid octets
	}
	x.env, x.rest = buf, buf
	return nil
}

// appendChunk appends the command before a chunk of content (RFC 3030 section
// 2).
func appendChunk(dst []byte, n int, last bool) []byte {
	dst = append(dst, "BDAT "...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	if last {
		dst = append(dst, " LAST"...)
	}
	return append(dst, '\r', '\n')
}

// step is one command of the envelope: it is sent now unless it went out with
// its group, and its reply read.
func (x *exchange) step(stage Stage, r *Reply) *Error {
	if !x.grouped {
		if x.s.rd.buffered() > 0 {
			// A reply that arrived before its command would be taken for the next one,
			// and every verdict would go to the wrong recipient.
			e := x.s.unasked()
			e.Stage = stage
			return e
		}
		i := bytes.IndexByte(x.rest, '\n') + 1
		x.s.traceCommands(x.rest[:i])
		_, err := x.s.conn.Write(x.rest[:i])
		x.rest = x.rest[i:]
		x.written(err)
	}
	return x.answer(stage, r)
}

// answer reads one reply. After 421, or 221 in its place, no more replies are waited for, unless the content
// was sent: a reply to that still counts.
func (x *exchange) answer(stage Stage, r *Reply) (e *Error) {
	wait, hung := x.s.cfg.Timeouts.of(stage), x.hung != nil
	if hung {
		wait = min(wait, x.s.cfg.Timeouts.Quit)
	}
	*r, e = x.s.await(stage, wait, form{utf8: x.p.utf8})
	switch {
	case e != nil && x.hung != nil && e.Kind != Canceled:
		x.goesOn = x.goesOn || e.Kind != Closed
		return x.hung
	case e != nil && (!x.early || !errors.Is(e, errGoodbye)):
		return e
	case e != nil:
		x.hung, *r = e, Reply{Code: 421} // which it stands for
	case r.Code == 421 && stage != StageFinal:
		if x.hung == nil {
			x.hung = &Error{Stage: stage, Kind: Replied, Reply: *r}
		}
		if !x.early {
			return x.hung
		}
	case stage != StageReset:
		x.answers++
	}
	x.goesOn = x.goesOn || hung
	return nil
}

// envelope reads the replies to RSET, MAIL and RCPT.
func (x *exchange) envelope() *Error {
	if x.reset {
		if e := x.resetReply(); e != nil {
			return e
		}
	}
	if e := x.mailReply(); e != nil {
		return e
	}
	if x.refused && !x.grouped {
		return nil
	}
	for i := range x.res.Rcpts {
		if x.res.Rcpts[i].State == NotTried {
			continue
		}
		if e := x.rcptReply(i); e != nil {
			return e
		}
	}
	if x.crowded == x.taken {
		x.s.learnt = x.crowded
	}
	return nil
}

// resetReply reads the reply to RSET. A session that refuses it carries no more
// mail (RFC 5321 section 4.1.1.5 knows no refusal).
func (x *exchange) resetReply() *Error {
	var r Reply
	if e := x.step(StageReset, &r); e != nil {
		return e
	}
	switch {
	case r.Positive():
		x.s.needReset, x.s.lingering = false, false
		return nil
	case !r.Negative():
		return x.s.senseless(StageReset, r)
	}
	x.s.closing = true
	if x.hung == nil {
		x.hung = &Error{Stage: StageReset, Kind: Replied, Reply: r}
	}
	if x.early {
		return nil // what was sent cannot be taken back: its replies count
	}
	x.s.over = x.grouped // or the replies to the rest would meet QUIT
	x.stale = true
	return x.hung
}

// mailReply reads the reply to MAIL.
func (x *exchange) mailReply() *Error {
	r := &x.res.Mail
	if e := x.step(StageMail, r); e != nil {
		return e
	}
	if r.Code != 421 {
		x.s.warm = true
		x.s.refused &^= OptTLS // the session goes on in clear
	}
	switch {
	case r.Positive():
		x.proven(mailOptions | OptBody)
		return nil
	case !r.Negative():
		return x.s.senseless(StageMail, *r)
	}
	if x.hung != nil && x.hung.Stage == StageReset {
		// It refuses the second MAIL of the transaction that it would not end.
		x.s.over, x.stale = true, true
		return x.hung
	}
	x.refused = true
	if x.warm && r.Class() == 4 && r.Enhanced == "4.4.2" {
		// The server has waited too long for this MAIL, and says so in another way than
		// by 421. This is about the session and not about the message.
		x.s.over, x.stale = true, true
		x.hung = &Error{Stage: StageMail, Kind: Replied, Reply: *r}
		return x.hung
	}
	retry := false
	if r.blames(StageMail) {
		kind, said := mailOptions, x.p.saidAtMail(x.t)
		if said == 0 {
			kind, said = OptBody, x.p.bodySaid(x.t)
		}
		if retry = said != 0 && r.Class() == 5; retry {
			x.s.trial |= x.onTrial & mailOptions // which may be refused as well
		}
		x.doubt(kind, said, r)
	}
	for i := range x.res.Rcpts {
		switch rr := &x.res.Rcpts[i]; {
		case rr.State != offered, r.Code == 421:
		case retry:
			rr.State = again
		default:
			rr.State, rr.Stage, rr.Reply = Refused, StageMail, *r
		}
	}
	return nil
}

// rcptReply reads the reply to the RCPT of one recipient.
func (x *exchange) rcptReply(i int) *Error {
	var r Reply
	if e := x.step(StageRcpt, &r); e != nil {
		return e
	}
	rr, said := &x.res.Rcpts[i], x.p.saidAtRcpt(&x.t.To[i])
	var grouped Option
	if x.grouped && r.blamesGroup() {
		grouped = OptPipelining
	}
	switch {
	case x.refused:
	case r.Code == 421:
		rr.State = hungOn
	case r.Positive():
		x.taken++
		x.proven(OptPipelining)
		if to := &x.t.To[i]; to.Notify != "" || to.OriginalType != "" {
			x.proven(rcptOptions)
		}
		rr.State = accepted
	case !r.Negative():
		return x.s.senseless(StageRcpt, r)
	case x.taken > 0 && tooMany(&r):
		if x.crowded < 0 {
			x.crowded = x.taken
		}
		rr.State = NotTried
	default:
		switch {
		case !r.blames(StageRcpt):
			said = 0
		case said != 0:
			grouped = 0 // the parameters first
		}
		x.doubt(rcptOptions, said, &r)
		x.doubt(OptPipelining, grouped, &r)
		if r.Class() == 5 && said|grouped != 0 {
			rr.State = again
			break
		}
		rr.State, rr.Stage, rr.Reply = Refused, StageRcpt, r
	}
	return nil
}

// doubt draws the consequence of a refusal that may be about options which a
// command had: the session does without all of their kind if it goes on, else the
// next attempt does without those that were said.
func (x *exchange) doubt(kind, said Option, r *Reply) {
	switch {
	case said == 0:
	case r.Class() == 5:
		x.s.trial |= kind
		x.s.refused |= said
	default:
		x.res.Doubt.add(doubt(said, r.form()))
	}
}

// proven records that a command was accepted without options that were refused before.
// The session leaves them out from now on.
func (x *exchange) proven(kind Option) {
	if x.onTrial&kind != 0 {
		x.s.lacks |= x.s.refused & kind
		x.s.without |= x.s.refused & kind
	}
}

// tooMany reports whether a refusal of a recipient, after others were taken,
// means "enough for one transaction" (RFC 5321 section 4.5.3.1.10): its status
// says so, or it is a 452 or 552 that does not speak of space (RFC 1870
// section 6.4).
func tooMany(r *Reply) bool {
	_, status, _ := strings.Cut(r.Enhanced, ".")
	switch {
	case status == "5.3":
		return true
	case r.Code != 452 && r.Code != 552:
		return false
	}
	return !slices.Contains([]string{"2.2", "2.3", "3.1", "3.4"}, status)
}

// admits reports whether a recipient's domain is within RCPTDOMAINMAX, and
// counts it (RFC 9422 section 4.3).
func (s *Session) admits(d address.Domain) bool {
	most := s.ext.Limits.RcptDomainMax
	if most == 0 || slices.Contains(s.domains, d) {
		return true
	}
	if len(s.domains) == most {
		return false
	}
	s.domains = append(s.domains, d)
	return true
}
