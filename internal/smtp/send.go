package smtp

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// States of a recipient during a transaction: offered, then accepted by RCPT, or to be
// offered again. Send never returns them.
const (
	offered State = 0x80 + iota
	accepted
	again
	hungOn // RCPT was answered 421
)

// exchange is one transaction under way.
type exchange struct {
	s   *Session
	t   *Transaction
	res *Result
	p   params

	onTrial Option // left out because it was refused just now

	data []byte           // the content, if it is in memory
	src  io.ReadCloser    // the content, if it is not
	buf  *[blockSize]byte // the part of it that was read

	env     []byte // the commands of the envelope, and those still to be sent
	rest    []byte
	grouped bool // they go out together (RFC 2920)
	early   bool // and the content with them
	bdat    bool // the content goes by BDAT
	reset   bool // RSET goes first

	flying chan error // answers when a write in the background has ended
	sent   bool       // the octets that make a message of it all are out

	warm     bool   // the session had carried mail before
	answers  int    // replies so far, but for 421
	refused  bool   // MAIL was
	taken    int    // recipients accepted so far
	crowded  int    // as many had been when the first was one too many
	hung     *Error // the server said that it closes, or refused RSET
	goesOn   bool   // and sent more replies nevertheless, or did not close
	stale    bool   // the session could not be used from the start
	certain  bool   // whatever was sent, it was not taken
	finished bool   // all is judged
	blocks   int    // of content written
	apart    bool   // the content goes out after the envelope
}

// Send makes one transaction. The result has a state for each recipient in all cases.
// Send judges nothing, and sends nothing twice.
//
// When ctx ends, Send returns at once and the session is over. A message whose last
// octet was not sent by then was not delivered.
//
// The Result's Rcpts are valid until the next Send.
func (s *Session) Send(ctx context.Context, t *Transaction) Result {
	s.res = Result{Rcpts: s.rcptResults(len(t.To))}
	s.x = exchange{s: s, t: t, res: &s.res, crowded: -1}
	s.x.conclude(s.x.run(ctx))
	s.x = exchange{}
	return s.res
}

// keptRcpts is how many results a session keeps the memory of.
const keptRcpts = 64

// rcptResults are n empty results, in the memory of the last ones if they
// were few.
func (s *Session) rcptResults(n int) []RcptResult {
	if n > cap(s.res.Rcpts) || cap(s.res.Rcpts) > keptRcpts {
		return make([]RcptResult, n)
	}
	list := s.res.Rcpts[:n]
	clear(list)
	return list
}

// run makes sure that the transaction can be made, and makes it.
func (x *exchange) run(ctx context.Context) (e *Error) {
	s := x.s
	if e := x.usable(); e != nil {
		return e
	}
	if x.p, e = s.fit(x.t); e != nil {
		return e
	}
	if e := s.begin(ctx, StageMail, x.backstop()); e != nil {
		return e
	}
	defer s.end()
	defer x.release()
	x.onTrial = s.trial
	s.trial = 0
	if e := x.fetch(); e != nil {
		return e
	}
	if e := x.offer(); e != nil {
		return e
	}
	if e := x.compose(); e != nil {
		return e
	}
	e = x.converse()
	x.land(e != nil)
	if x.apart {
		x.res.ContentAt = s.wire.marked()
	}
	return e
}

// minRate is the octets a second below which content is given up.
const minRate = 256

// backstop is how long the transaction may take as a whole: what each of its
// commands may, and its content, and more. So no wait that is legal by itself
// comes to its end by it (RFC 5321 section 4.5.3.2), and content that trickles
// does.
func (x *exchange) backstop() time.Duration {
	t, size := &x.s.cfg.Timeouts, x.t.Body.Size()
	chunks := int64(1)
	if x.s.chunking() {
		chunks += size / blockSize
	}
	return t.Backstop + t.Reset + t.Mail + t.Data + time.Duration(len(x.t.To))*t.Rcpt +
		time.Duration(chunks)*t.Final + time.Duration(size/minRate)*time.Second
}

// usable is why the session cannot carry another transaction, nil if it can.
func (x *exchange) usable() *Error {
	s := x.s
	if s.over {
		return &Error{Stage: StageMail, Kind: Closed, Err: net.ErrClosed}
	}
	x.warm = s.warm
	if s.rd.buffered() > 0 {
		s.wire.begin(time.Time{})
		return s.unasked()
	}
	if !s.Reusable() {
		return &Error{Stage: StageMail, Kind: Exhausted, Err: errUsedUp}
	}
	return nil
}

// offer picks the recipients that this transaction can have.
func (x *exchange) offer() *Error {
	var (
		most  = x.s.MaxRecipients()
		n     int
		unfit *Error
	)
	for i := range x.t.To {
		r, to := &x.res.Rcpts[i], x.t.To[i].To
		switch {
		case to.NeedsUTF8() && !x.p.utf8:
			r.Err = &Error{Stage: StageRcpt, Kind: Unfit, Enhanced: "5.6.7", Err: errUTF8Address}
			unfit = r.Err
		case (most == 0 || n < most) && x.s.admits(to.Domain()):
			r.State = offered
			n++
		}
	}
	switch {
	case n > 0:
		return nil
	case unfit != nil:
		return unfit
	default:
		x.s.closing, x.stale = true, x.warm // or it would be tried for ever
		return &Error{Stage: StageMail, Kind: Exhausted, Err: errUsedUp}
	}
}

// converse speaks the transaction: the envelope, then the content.
func (x *exchange) converse() *Error {
	s := x.s
	if x.early {
		if e := x.commit(); e != nil {
			return e
		}
	}
	s.mails++
	if x.grouped {
		x.launch()
	}
	if e := x.envelope(); e != nil {
		return e
	}
	switch {
	case x.early:
		return x.chunkVerdict()
	case x.grouped && !x.bdat:
		return x.dataReply()
	case x.taken == 0:
		s.needReset = !x.refused
		return nil
	case x.bdat:
		return x.chunks()
	default:
		return x.dataReply()
	}
}

// content begins the content, behind the envelope.
func (x *exchange) content() {
	x.apart = true
	x.s.wire.mark()
}

// commit asks the caller for leave to send what makes the message.
func (x *exchange) commit() *Error {
	if x.t.Commit == nil {
		return nil
	}
	if err := x.t.Commit(); err != nil {
		return &Error{Stage: StageContent, Kind: Local, Err: err}
	}
	return nil
}

// judgeAll gives every recipient that the server had accepted the same reply.
func (x *exchange) judgeAll(state State, stage Stage, r Reply) {
	for i := range x.res.Rcpts {
		if rr := &x.res.Rcpts[i]; rr.State == accepted {
			rr.State, rr.Stage, rr.Reply = state, stage, r
		}
	}
	x.finished = true
}

// conclude gives a state to every recipient that has none yet. e is the error that
// ended the transaction, if there was one.
func (x *exchange) conclude(e *Error) {
	if e == nil {
		e = x.hung
	}
	res, open := x.res, Failed
	if x.env == nil {
		res.Err = e // nothing was sent
	}
	if e != nil {
		lost := e.Kind == Closed || e.Kind == Replied
		res.Stale = x.stale || x.warm && lost && x.answers == 0
		switch {
		case res.Stale, x.env == nil:
			open = NotTried
			res.MaybeSent = x.early && x.mayBeTaken()
		case x.sent && x.mayBeTaken():
			open = Unknown
		}
		form, ok := e.form()
		if ok && !res.Stale && x.env != nil && e.Stage != StageReset {
			e.Doubt.add(doubt(x.suspects(e.Stage), form))
		}
		if ok {
			e.Doubt.add(x.s.unproven())
		}
		res.Doubt.add(e.Doubt)
	}
	x.s.refused &^= x.onTrial // it has been shown by now, or was not the cause
	for i := range res.Rcpts {
		switch rr := &res.Rcpts[i]; {
		case rr.State == offered, rr.State == accepted, rr.State == hungOn:
			state := open
			if open == Unknown && rr.State == hungOn {
				state = Failed
			}
			*rr = RcptResult{State: state, Err: e}
			res.Err = e
			res.Unknown = res.Unknown || state == Unknown
		case rr.State == again && e != nil:
			*rr = RcptResult{State: Failed, Err: e} // the session is over, and everything it has found out is lost
			res.Err = e
		case rr.State == again:
			rr.State = NotTried
		case rr.Err == nil && x.env == nil:
			rr.Err = e
		}
	}
}

// mayBeTaken reports whether a message that was sent completely may have been accepted
// although no answer says so. It was not accepted if MAIL or BDAT was refused, or if
// the server said that it closes and did so without another reply (RFC 5321 section
// 3.8). A server that sends more replies after 421, or keeps the connection open, may
// have continued to read; so may one that refused RSET with another code and did not
// announce to close.
func (x *exchange) mayBeTaken() bool {
	closes := x.hung != nil && (x.hung.Reply.Code == 421 || errors.Is(x.hung, errGoodbye))
	return !x.certain && !x.refused && (!closes || x.goesOn)
}

// suspects are the options in use that may be to blame for what happened at a
// stage.
func (x *exchange) suspects(stage Stage) (used Option) {
	switch stage {
	case StageMail:
		if used = x.p.saidAtMail(x.t); used == 0 {
			used = x.p.bodySaid(x.t)
		}
	case StageRcpt:
		for i := range x.t.To {
			used |= x.p.saidAtRcpt(&x.t.To[i])
		}
	case StageContent, StageFinal:
		if x.bdat {
			used = OptChunking
		}
	}
	if x.early {
		used |= OptChunking
	}
	if x.early || x.grouped && stage <= StageData {
		used |= OptPipelining
	}
	return used
}
