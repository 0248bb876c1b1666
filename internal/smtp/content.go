package smtp

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// blockSize is how much content is written at a time, and how much of a stream
// is held in memory. A chunk of a stream is as long: it is read to its end
// before its BDAT is sent, so that a stream which fails leaves no half chunk.
const blockSize = 64 << 10

var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

var (
	errShort = errors.New("content shorter than announced")
	errLong  = errors.New("content longer than announced")
)

// How much is written without reading at the same time, so that the server cannot wait
// for us to read while we wait for it to (RFC 2920 section 3.1): what every server's
// window takes in whole, or the system does, whatever the server reads.
const (
	directLeast = 8 << 10
	directMost  = 64 << 10
)

// fetch gets hold of the content before anything is sent: in memory if it is
// there already or short, else as an open stream.
func (x *exchange) fetch() *Error {
	body := x.t.Body
	x.data = body.Bytes()
	switch {
	case x.data == nil && body.Size() == 0:
		x.data = []byte{}
	case x.data == nil:
		return x.open()
	}
	switch n := int64(len(x.data)); {
	case n < body.Size():
		return local(errShort)
	case n > body.Size():
		return local(errLong)
	}
	return nil
}

// open opens the stream, and reads it if it is short.
func (x *exchange) open() *Error {
	src, err := x.t.Body.Open()
	if err != nil {
		return local(err)
	}
	x.src = src
	size := x.t.Body.Size()
	if size > blockSize {
		return nil
	}
	part, e := x.read(int(size), true)
	if e != nil {
		return e
	}
	x.data = part
	return x.shut()
}

// shut closes the stream, which has been read to its end.
func (x *exchange) shut() *Error {
	src := x.src
	x.src = nil
	if err := src.Close(); err != nil {
		return local(err)
	}
	return nil
}

// read reads the next n octets of the stream, and makes sure that there are no
// more if they are the last.
func (x *exchange) read(n int, last bool) ([]byte, *Error) {
	if x.buf == nil {
		x.buf = blocks.Get().(*[blockSize]byte)
	}
	part := x.buf[:n]
	return part, x.readInto(part, last)
}

func (x *exchange) readInto(part []byte, last bool) *Error {
	if _, err := io.ReadFull(x.src, part); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = errShort
		}
		return local(err)
	}
	if !last {
		return nil
	}
	var one [1]byte
	switch _, err := io.ReadFull(x.src, one[:]); err {
	case io.EOF:
		return nil
	case nil:
		return local(errLong)
	default:
		return local(err)
	}
}

// local is a failure on our side, which leaves the session as it is.
func local(err error) *Error {
	return &Error{Stage: StageContent, Kind: Local, Err: err}
}

// release gives back what the transaction holds.
func (x *exchange) release() {
	if x.src != nil {
		_ = x.src.Close() // it was read to its end or is of no use
		x.src = nil
	}
	if x.buf != nil {
		blocks.Put(x.buf)
		x.buf, x.data = nil, nil
	}
	if x.env != nil && cap(x.env) == commandBuffer {
		commandBuffers.Put((*[commandBuffer]byte)(x.env[:commandBuffer]))
		x.env = x.env[:0:0]
	}
}

// launch sends the group of commands, and the content if it is sent along. Anything
// that may be more than the server accepts unread is written in the background while
// the replies are read; land waits for that.
func (x *exchange) launch() {
	s := x.s
	var body []byte
	s.traceCommands(x.env)
	if x.early {
		body = x.data
		s.traceContent(int64(len(body)))
	}
	if len(x.env)+len(body) <= s.wire.direct {
		x.written(s.write(x.env, body))
		return
	}
	flying := make(chan error, 1)
	x.flying = flying
	go func() {
		err := s.write(x.env, body)
		if err != nil {
			s.wire.hurry()
		}
		flying <- err
	}()
}

// land waits for the write in the background, not long once the replies are
// there and not at all if they never will be.
func (x *exchange) land(broken bool) {
	if x.flying == nil {
		return
	}
	select {
	case err := <-x.flying:
		x.written(err)
	default:
		x.s.wire.abandonWrite(broken)
		x.written(<-x.flying)
	}
	x.flying = nil
}

// landed ensures that every command of the group has been sent before any content is,
// and that there is no extra reply, which would be taken for the next one. When the
// replies have arrived, the commands should have been sent, too; a server that has
// answered them without reading them gets the grace.
func (x *exchange) landed() *Error {
	s := x.s
	if x.flying != nil {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		var err error
		select {
		case err = <-x.flying:
		case <-timer.C:
			s.wire.abandonWrite(true)
			<-x.flying //nolint:errcheck // cut off; its error does not matter
			err = errUnsolicited
		}
		x.flying = nil
		if x.written(err); err != nil {
			return s.fail(StageData, err)
		}
	}
	if s.rd.buffered() > 0 && x.bdat {
		e := s.unasked()
		e.Stage = StageData
		return e
	}
	return nil
}

// written notes how a write ended. One that failed leaves the session to what
// replies are there already.
func (x *exchange) written(err error) {
	switch {
	case err != nil:
		x.s.wire.hurry()
		x.s.over = true
	case x.early:
		x.sent = true
	}
}

// write writes head and then body in as few pieces as the transport allows,
// and no copy of a long body is made. head has room behind it in its buffer.
func (s *Session) write(head, body []byte) error {
	if len(body) == 0 {
		_, err := s.conn.Write(head)
		return err
	}
	if _, tcp := s.wire.Conn.(*net.TCPConn); tcp && s.tls == nil {
		s.vec = [2][]byte{head, body}
		s.bufs = s.vec[:]
		err := s.wire.writev(&s.bufs)
		s.vec = [2][]byte{}
		return err
	}
	n := min(len(body), max(0, commandBuffer-len(head)))
	if _, err := s.conn.Write(append(head, body[:n]...)); err != nil || n == len(body) {
		return err
	}
	_, err := s.conn.Write(body[n:])
	return err
}

// brokenWrite is what a failed write of content means: the refusal that the
// server has sent already, behind the replies that were due before it (RFC 5321
// section 4.2.5), else the failure.
func (x *exchange) brokenWrite(err error, due int) *Error {
	s := x.s
	s.wire.hurry()
	for ; due >= 0; due-- {
		r, e := s.await(StageContent, grace, form{utf8: x.p.utf8})
		if e != nil || !r.Positive() && !r.Negative() {
			break
		}
		if r.Negative() {
			s.over = true
			x.finalReply(Refused, StageContent, r)
			return nil
		}
	}
	return s.fail(StageContent, err)
}

// interrupted reads a reply that came before the content was complete. The content is
// not completed: a refusal settles it, and any other reply makes no sense.
func (x *exchange) interrupted() *Error {
	s := x.s
	r, e := s.await(StageContent, s.cfg.Timeouts.Write, form{utf8: x.p.utf8})
	if e != nil {
		return e
	}
	if !r.Negative() {
		return s.senseless(StageContent, r)
	}
	s.over = true
	x.finalReply(Refused, StageContent, r)
	return nil
}

// finalReply settles every recipient still open with the reply to the content.
func (x *exchange) finalReply(state State, stage Stage, r Reply) {
	x.res.Final = r
	x.judgeAll(state, stage, r)
}
