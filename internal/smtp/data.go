package smtp

// dataReply reads the reply to DATA and sends the content if that is 354.
func (x *exchange) dataReply() *Error {
	s := x.s
	var r Reply
	if e := x.step(StageData, &r); e != nil {
		return e
	}
	switch {
	case r.Class() == 3 && x.taken == 0:
		return x.loneDot()
	case r.Class() == 3:
		return x.text()
	case r.Negative():
		if x.grouped && x.taken > 0 && r.blamesGroup() {
			x.doubt(OptPipelining, OptPipelining, &r)
			if r.Class() == 5 {
				s.needReset, s.lingering = true, true
				x.offerAgain()
				return nil
			}
		}
		s.needReset, s.lingering = !x.refused, x.taken > 0
		x.judgeAll(Refused, StageData, r)
		return nil
	default:
		return s.senseless(StageData, r)
	}
}

// offerAgain leaves the accepted recipients to the next transaction.
func (x *exchange) offerAgain() {
	for i := range x.res.Rcpts {
		if rr := &x.res.Rcpts[i]; rr.State == accepted {
			rr.State = again
		}
	}
}

// loneDot ends content without recipients: the server answered 354 although no
// recipient was accepted (RFC 2920 section 3.1). Its reply does not matter; the next
// transaction begins with RSET.
func (x *exchange) loneDot() *Error {
	s := x.s
	s.needReset = true
	if e := x.landed(); e != nil {
		return e
	}
	s.traceCommands([]byte(".\r\n"))
	if _, err := s.conn.Write([]byte(".\r\n")); err != nil {
		return s.fail(StageContent, err)
	}
	var r Reply
	return x.answer(StageFinal, &r)
}

// text sends the content as DATA has it, and reads the reply. Whatever goes
// wrong on our side, the connection is closed without the final dot.
func (x *exchange) text() *Error {
	if e := x.landed(); e != nil {
		return e
	}
	x.content()
	w := textWriter{x: x, block: blocks.Get().(*[blockSize]byte)}
	defer func() { blocks.Put(w.block) }()
	x.s.traceContent(x.t.Body.Size())
	for left := x.t.Body.Size(); left > 0; {
		part, e := x.textPart(left)
		left -= int64(len(part))
		if e == nil {
			e = w.add(part, left == 0)
		}
		if e != nil || x.finished {
			x.s.over = true
			return e
		}
	}
	if e := w.end(); e != nil || x.finished {
		x.s.over = true
		return e
	}
	return x.verdict()
}

// part is the next n octets of the content.
func (x *exchange) part(n int, last bool) ([]byte, *Error) {
	if x.src != nil {
		return x.read(n, last)
	}
	part := x.data[:n]
	x.data = x.data[n:]
	return part, nil
}

// textPart is the next part of content that has left octets more. It does not
// end between CR and LF: no CR goes out before it is known what follows.
func (x *exchange) textPart(left int64) ([]byte, *Error) {
	n := int(min(left, blockSize-1))
	whole := int64(n) == left
	part, e := x.part(n, whole)
	if e != nil || whole || part[n-1] != '\r' {
		return part, e
	}
	whole = int64(n+1) == left
	if x.src == nil {
		part = part[:n+1]
		x.data = x.data[1:]
		return part, nil
	}
	if e := x.readInto(x.buf[n:n+1], whole); e != nil {
		return nil, e
	}
	return x.buf[:n+1], nil
}

// verdict reads the reply to the content.
func (x *exchange) verdict() *Error {
	var r Reply
	if e := x.answer(StageFinal, &r); e != nil {
		return e
	}
	switch {
	case r.Positive():
		x.finalReply(Delivered, StageFinal, r)
	case r.Negative():
		x.finalReply(Refused, StageFinal, r)
	default:
		return x.s.senseless(StageFinal, r)
	}
	return nil
}

// copyMost is the longest stretch of content that is copied to be written
// together with its neighbours; a longer one is written from where it lies.
const copyMost = 16 << 10

// textWriter writes content with its dots, in blocks.
type textWriter struct {
	x     *exchange
	d     stuffer
	block *[blockSize]byte
	n     int // octets in block
}

// add takes the next part of the content. The last is kept to go out together
// with the final dot, as far as it fits.
func (w *textWriter) add(part []byte, last bool) *Error {
	for len(part) > 0 {
		n, dot, err := w.d.next(part)
		if err != nil {
			return local(err)
		}
		if e := w.put(part[:n], last); e != nil || w.x.finished {
			return e
		}
		if dot {
			if e := w.put([]byte{'.'}, last); e != nil || w.x.finished {
				return e
			}
		}
		part = part[n:]
	}
	return nil
}

func (w *textWriter) put(p []byte, last bool) *Error {
	if len(p) > copyMost && !last {
		if e := w.flush(); e != nil || w.x.finished {
			return e
		}
		return w.x.writeBlock(p)
	}
	for {
		n := copy(w.block[w.n:], p)
		w.n += n
		if p = p[n:]; len(p) == 0 {
			return nil
		}
		if e := w.flush(); e != nil || w.x.finished {
			return e
		}
	}
}

func (w *textWriter) flush() *Error {
	if w.n == 0 {
		return nil
	}
	p := w.block[:w.n]
	w.n = 0
	return w.x.writeBlock(p)
}

// end writes the final dot, once the caller has agreed.
func (w *textWriter) end() *Error {
	dot, err := w.d.end()
	if err != nil {
		return local(err)
	}
	if w.n+len(dot) > blockSize {
		if e := w.flush(); e != nil || w.x.finished {
			return e
		}
	}
	w.n += copy(w.block[w.n:], dot)
	if e := w.x.commit(); e != nil {
		return e
	}
	if e := w.flush(); e != nil || w.x.finished {
		return e
	}
	w.x.sent = true
	return nil
}

// writeBlock writes a block of content, unless the server has meanwhile said
// something.
func (x *exchange) writeBlock(p []byte) *Error {
	if x.blocks++; x.blocks > 1 || x.s.rd.buffered() > 0 {
		waiting, err := x.s.rd.poll(x.s.wire)
		switch {
		case err != nil:
			return x.s.fail(StageContent, err)
		case waiting:
			return x.interrupted()
		}
	}
	if _, err := x.s.conn.Write(p); err != nil {
		return x.brokenWrite(err, 0)
	}
	return nil
}
