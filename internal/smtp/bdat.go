package smtp

import "strings"

const (
	// chunkSize is how long a chunk of content in memory is. A stream's are as
	// long as the block it is read into.
	chunkSize = 1 << 20
	// chunksAhead is how many chunks go out before the reply to the first of
	// them is waited for, if the server takes commands in groups.
	chunksAhead = 16
)

// chunks sends the content by BDAT, octet by octet as it is (RFC 3030 section
// 2), and reads the replies. Every chunk is at hand in full before its command
// is sent: content that cannot be read leaves a transaction that RSET ends.
func (x *exchange) chunks() *Error {
	s := x.s
	if e := x.landed(); e != nil {
		return e
	}
	x.content()
	ahead, size := 1, chunkSize
	if x.grouped {
		ahead = chunksAhead
	}
	if x.data == nil {
		size = blockSize
	}
	s.needReset, s.lingering = true, true // until the last chunk is answered
	waiting := 0                          // replies that are due
	for left := x.t.Body.Size(); ; {
		n := int(min(left, int64(size)))
		left -= int64(n)
		part, e := x.chunk(n, left == 0)
		if e != nil {
			return x.drain(waiting, e)
		}
		for ; waiting == ahead || waiting > 0 && x.replyWaits(); waiting-- {
			if e := x.chunkReply(); e != nil || x.finished {
				return x.drain(waiting-1, e)
			}
		}
		if e := x.writeChunk(part, left == 0, waiting); e != nil || x.finished {
			return e
		}
		if left == 0 {
			break
		}
		waiting++
	}
	for ; waiting > 0; waiting-- {
		if e := x.chunkReply(); e != nil || x.finished {
			return x.drain(waiting, e)
		}
	}
	return x.chunkVerdict()
}

// chunk is the next n octets; the last ones only if the caller agrees.
func (x *exchange) chunk(n int, last bool) ([]byte, *Error) {
	part, e := x.part(n, last)
	if e == nil && last {
		e = x.commit()
	}
	return part, e
}

// writeChunk sends one chunk with its command.
func (x *exchange) writeChunk(part []byte, last bool, due int) *Error {
	head := appendChunk(x.env[:0], len(part), last)
	x.s.traceCommands(head)
	x.s.traceContent(int64(len(part)))
	if err := x.s.write(head, part); err != nil {
		return x.brokenWrite(err, due)
	}
	x.sent = last
	return nil
}

// replyWaits reports whether a reply, or the end, can be read without waiting.
func (x *exchange) replyWaits() bool {
	waits, err := x.s.rd.poll(x.s.wire)
	return waits || err != nil
}

// chunkReply reads the reply to a chunk that is not the last. A refusal ends
// the transaction, and so does the end of the session.
func (x *exchange) chunkReply() *Error {
	var r Reply
	if e := x.answer(StageFinal, &r); e != nil {
		return e
	}
	switch {
	case r.Code == 221:
		x.hung = x.s.goodbye(StageFinal, r)
		return x.hung
	case r.Positive():
		return nil
	case r.Negative():
		return x.chunkRefused(r)
	default:
		return x.s.senseless(StageFinal, r)
	}
}

// drain reads the replies still due after e, or after a refusal, so that the session
// can continue. They have no effect.
func (x *exchange) drain(due int, e *Error) *Error {
	var r Reply
	for ; due > 0 && !x.s.over; due-- {
		if x.answer(StageFinal, &r) != nil {
			break
		}
	}
	return e
}

// chunkVerdict reads the reply to the last chunk.
func (x *exchange) chunkVerdict() *Error {
	s := x.s
	var r Reply
	if e := x.answer(StageFinal, &r); e != nil {
		return e
	}
	x.land(false)
	switch {
	case x.early && !x.refused && s.rd.outOfStep():
		return x.unmatched()
	case r.Negative():
		return x.chunkRefused(r)
	case !r.Positive(), !x.sent: // success for content that it cannot have received
		return s.senseless(StageFinal, r)
	}
	// A server that accepts a message without a recipient may not have ended the
	// transaction.
	s.needReset, s.lingering = x.taken == 0, false
	x.finalReply(Delivered, StageFinal, r)
	return nil
}

// unmatched ignores the replies to a group: there was one too many, so it is not known
// which belongs to which command. If a host sends its reply to the content later than
// the extra one, this is not noticed here, but at the next check the session is over.
func (x *exchange) unmatched() *Error {
	for i := range x.res.Rcpts {
		if rr := &x.res.Rcpts[i]; rr.State == Refused || rr.State == again {
			*rr = RcptResult{State: accepted}
		}
	}
	return x.s.fail(StageFinal, errTooManyReplies)
}

// chunkRefused settles the transaction with a refusal. RSET must follow (RFC 3030
// section 2). If the server does not know BDAT, it may have read the content as
// commands, and nothing more is sent to it.
func (x *exchange) chunkRefused(r Reply) *Error {
	s := x.s
	s.needReset, s.lingering = true, x.taken > 0
	if r.Code == 500 || r.Code == 502 || x.taken > 0 && isUnknownCommand(&r) {
		s.over, x.certain = true, true
		switch {
		case x.hung != nil: // it had refused to begin anew, and this is for that
			return x.hung
		case x.taken > 0:
			return &Error{Stage: StageFinal, Kind: Incapable, Reply: r, Doubt: doubt(OptChunking, Refuses)}
		}
	}
	if x.taken > 0 && r.Class() == 4 {
		x.res.Doubt.add(doubt(OptChunking, r.form()))
	}
	x.finalReply(Refused, StageFinal, r)
	return nil
}

// isUnknownCommand reports whether a refusal of BDAT, with recipients accepted, is
// about the command and not about the message: its status is about the protocol (RFC
// 3463 section 3.6), or it has no status and its code is.
func isUnknownCommand(r *Reply) bool {
	switch {
	case r.Class() != 5, r.Enhanced == "5.5.3": // too many recipients
		return false
	case r.Enhanced == "":
		return 500 <= r.Code && r.Code <= 504 || r.Code == 555
	default:
		return strings.HasPrefix(r.Enhanced, "5.5.")
	}
}
