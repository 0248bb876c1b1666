package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// Session is one SMTP session over one connection, client side. Its methods
// follow each other as the package comment says. It is for one goroutine at a
// time.
type Session struct {
	cfg   Config // with its defaults
	hello string
	wire  *wire
	conn  net.Conn // the connection for the dialogue: wire, or TLS over it
	tls   *tls.Conn
	rd    reader

	ctx  context.Context // of the operation under way
	stop func() bool     // ends the watch over ctx
	cut  chan struct{}   // closed when that watch has struck

	ext           Extensions
	ready         bool   // EHLO or HELO was taken
	authenticated bool   // AUTH succeeded
	over          bool   // nothing more can be sent, not even QUIT
	closing       bool   // only QUIT can
	warm          bool   // some MAIL was answered
	without       Option // what the session does without
	refused       Option // what the server refused just now
	brief         Option // refused options that may work again soon
	trial         Option // options left out for it in the next transaction
	lacks         Option // what the server was shown to lack: it refused that, and took the same without
	silent        int64  // the octets read when TLS was established: until more are, TLS may not work
	needReset     bool   // the last transaction was not finished
	lingering     bool   // and may have left recipients with the server
	mails         int    // MAIL commands so far
	learnt        int    // recipients per transaction, as refusals show
	domains       []address.Domain
	x             exchange // the transaction under way, and its result
	res           Result
	vec           [2][]byte // for writev
	bufs          net.Buffers
}

// New returns a session over conn, which it owns from now on. Nothing is read or
// written. An error is about cfg.Hello. cfg may be nil.
func New(conn net.Conn, cfg *Config) (*Session, error) {
	if cfg == nil {
		cfg = &Config{}
	}
	hello, err := helloName(cfg.Hello, conn)
	if err != nil {
		return nil, err
	}
	s := &Session{cfg: *cfg, hello: hello, without: cfg.Without}
	s.cfg.Timeouts = cfg.Timeouts.WithDefaults()
	s.wire = newWire(conn, s.cfg.Timeouts.Write)
	s.conn = s.wire
	s.rd = reader{src: s.wire, limits: usualLimits(), trace: cfg.Trace}
	return s, nil
}

// Greet reads the greeting (RFC 5321 section 4.3.1). The error is an *Error. If it is
// Replied, the session can still Quit.
func (s *Session) Greet(ctx context.Context) error {
	if e := s.begin(ctx, StageBanner, 0); e != nil {
		return e
	}
	defer s.end()
	r, e := s.await(StageBanner, s.cfg.Timeouts.Greeting, form{plain: true})
	if e != nil {
		return e
	}
	if e := s.want2(StageBanner, r); e != nil {
		return e
	}
	return nil
}

// Hello sends EHLO, or HELO if the server does not accept EHLO (RFC 5321 section
// 4.1.1.1), and learns what the server offers. Without OptEHLO the order is reversed.
// What an earlier reply offered is forgotten. The error is an *Error.
func (s *Session) Hello(ctx context.Context) error {
	if e := s.begin(ctx, StageHello, 0); e != nil {
		return e
	}
	defer s.end()
	s.ext, s.ready = Extensions{}, false
	first, second := "EHLO", "HELO"
	if s.without&OptEHLO != 0 {
		first, second = second, first
	}
	r, e := s.greet(first)
	if r.Class() == 5 && !s.closing {
		r, e = s.greet(second)
	}
	if e == nil {
		e = s.want2(StageHello, r)
	}
	if e != nil {
		e.Doubt = s.doubtHello(e)
		return e
	}
	return nil
}

// greet says EHLO or HELO, and takes in what the server offers.
func (s *Session) greet(verb string) (Reply, *Error) {
	r, e := s.say(StageHello, s.cfg.Timeouts.Hello, verb, s.hello)
	if !r.Positive() {
		return r, e
	}
	s.ready = true
	if verb == "EHLO" {
		s.ext = parseExtensions(r.Text)
	} else {
		s.ext = Extensions{}
		s.ext.Greeting, s.ext.Remark = greetingOf(r.Text)
	}
	return r, nil
}

// doubtHello returns what may have caused a failure of EHLO: TLS, if the server has
// sent nothing inside it so far, otherwise EHLO.
func (s *Session) doubtHello(e *Error) Doubt {
	form, ok := e.form()
	switch {
	case !ok, e.Stage != StageHello:
		return Doubt{}
	case s.tls != nil && s.silent >= 0 && s.rd.total == s.silent:
		return doubt(OptTLS, form)
	case s.without&OptEHLO != 0:
		return Doubt{}
	default:
		return doubt(OptEHLO, form)
	}
}

// Without returns the options that the session leaves out in the next transaction:
// those it was told, and those it has found not to work.
func (s *Session) Without() Option { return s.without | s.trial }

// DoWithout makes the session leave out the given options from now on, in addition to
// those it has found not to work.
func (s *Session) DoWithout(o Option) { s.without = o | s.lacks }

// Lacks is what the server was shown not to be able to do: it refused that, and
// took the same without.
func (s *Session) Lacks() Option { return s.lacks }

// Encrypted reports whether TLS is in use.
func (s *Session) Encrypted() bool { return s.tls != nil }

// Rest lets go of what the last transaction leaves in memory, for a session that
// is kept for the next one.
func (s *Session) Rest() {
	list := s.res.Rcpts
	if clear(list); cap(list) > keptRcpts {
		list = nil
	}
	s.res = Result{Rcpts: list[:0]}
	s.rd.release()
}

// SetTrace replaces Config.Trace from now on; f may be nil.
func (s *Session) SetTrace(f func(Line)) { s.cfg.Trace, s.rd.trace = f, f }

// Extensions returns what the latest EHLO reply offers. It must not be changed.
func (s *Session) Extensions() *Extensions { return &s.ext }

// TLS is the state of the TLS connection, nil in clear.
func (s *Session) TLS() *tls.ConnectionState {
	if s.tls == nil {
		return nil
	}
	state := s.tls.ConnectionState()
	return &state
}

// MaxRecipients returns how many recipients the server accepts in one transaction, from
// LIMITS or learnt from its refusals, or 0 if no limit is known. Send obeys it by
// itself.
func (s *Session) MaxRecipients() int {
	switch l := s.ext.Limits.RcptMax; {
	case l == 0:
		return s.learnt
	case s.learnt == 0:
		return l
	default:
		return min(l, s.learnt)
	}
}

// Reusable reports whether the session may carry another transaction: not after
// 421, a timeout, a protocol error, or as many as LIMITS allows (RFC 5321
// section 4.1.4, RFC 9422).
func (s *Session) Reusable() bool {
	most := s.ext.Limits.MailMax
	return s.ready && !s.over && !s.closing && s.rd.buffered() == 0 && (most == 0 || s.mails < most)
}

// Check looks, without waiting, whether a session that lies idle is still good:
// whether the server has closed it or has said something, such as 421. The
// error is an *Error, after which the session is over.
func (s *Session) Check() error {
	if s.over {
		return &Error{Stage: StageIdle, Kind: Closed, Err: net.ErrClosed}
	}
	s.wire.begin(time.Time{})
	waiting, err := s.rd.poll(s.wire)
	if err != nil {
		return s.fail(StageIdle, err)
	}
	if !waiting {
		s.rd.release()
		return nil
	}
	return s.unasked()
}

// unasked returns the error for octets that arrived without a command: a 421, or a
// protocol error. It does not wait for more of them.
func (s *Session) unasked() *Error {
	s.wire.polling = true
	r, err := s.rd.reply(form{})
	s.wire.polling = false
	s.over = true
	if r.Code == 421 {
		return &Error{Stage: StageIdle, Kind: Replied, Reply: r}
	}
	switch {
	case r.Code == 221:
		err = errGoodbye
	case err == nil, isTimeout(err):
		err = errUnsolicited
	}
	return s.fail(StageIdle, err)
}

// Quit sends QUIT if possible, waits a little for the answer, and closes the
// connection. Its result has no effect.
func (s *Session) Quit(ctx context.Context) {
	defer s.Close()
	if s.begin(ctx, StageQuit, s.cfg.Timeouts.Quit) != nil {
		return
	}
	defer s.end()
	// The error and the reply make no difference: the connection ends here.
	_, _ = s.say(StageQuit, s.cfg.Timeouts.Quit, "QUIT", "")
}

// Close closes the connection without QUIT.
func (s *Session) Close() error {
	sound := !s.over
	s.over, s.ready = true, false
	s.rd.r = s.rd.w
	s.rd.release()
	if s.tls == nil || !sound {
		return s.wire.Conn.Close()
	}
	s.wire.begin(time.Now().Add(grace)) // for the alert that says goodbye
	return s.tls.Close()
}

// begin starts an operation, which may take as long as its steps do where most
// is 0. The context is watched until end.
func (s *Session) begin(ctx context.Context, stage Stage, most time.Duration) *Error {
	if s.over {
		return &Error{Stage: stage, Kind: Closed, Err: net.ErrClosed}
	}
	if ctx.Err() != nil {
		return &Error{Stage: stage, Kind: Canceled, Err: context.Cause(ctx)}
	}
	var limit time.Time
	if most > 0 {
		limit = time.Now().Add(most)
	}
	s.wire.begin(limit)
	s.ctx = ctx
	if ctx.Done() != nil {
		cut := make(chan struct{})
		s.cut = cut
		s.stop = context.AfterFunc(ctx, func() {
			s.wire.cancel()
			close(cut)
		})
	}
	return nil
}

// end ends the watch over the context and waits for it to be over.
func (s *Session) end() {
	if s.stop != nil && !s.stop() {
		<-s.cut
	}
	s.ctx, s.stop, s.cut = nil, nil, nil
	s.rd.release()
}

// fail makes an Error of what ended the session.
func (s *Session) fail(stage Stage, err error) *Error {
	s.over = true
	e := &Error{Stage: stage, Kind: Closed, Err: err}
	var bad protocolError
	switch {
	case s.ctx != nil && s.ctx.Err() != nil:
		e.Kind, e.Err = Canceled, context.Cause(s.ctx)
	case errors.As(err, &bad):
		e.Kind = Protocol
	case isTimeout(err):
		e.Kind = Timeout
	}
	return e
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// errGoodbye is 221 in reply to another command than QUIT: some servers end sessions like
// that, where 421 is due (RFC 5321 section 3.8). It is no success, but the end of the
// connection. In reply to the content it is one, by its first digit.
var errGoodbye = errors.New("the server ends the session")

// await reads the reply to what was sent. A reply of a class that no command has counts
// as no reply.
func (s *Session) await(stage Stage, timeout time.Duration, f form) (Reply, *Error) {
	now := time.Now()
	if stage == StageFinal {
		s.res.AwaitedAt = now
	}
	s.wire.readBy(now.Add(timeout))
	r, err := s.rd.reply(f)
	if err != nil {
		return r, s.fail(stage, err)
	}
	switch {
	case r.Code == 421:
		s.closing = true
	case r.Code == 221 && stage != StageQuit && stage != StageFinal:
		return Reply{}, s.goodbye(stage, r)
	}
	return r, nil
}

// goodbye returns the error for a reply by which the server ends the session.
func (s *Session) goodbye(stage Stage, r Reply) *Error {
	return s.fail(stage, fmt.Errorf("%w: %s", errGoodbye, r.String()))
}

// say sends one command and reads its reply.
func (s *Session) say(stage Stage, timeout time.Duration, verb, arg string) (Reply, *Error) {
	if s.rd.buffered() > 0 {
		return Reply{}, s.unasked()
	}
	line, err := appendCommand(make([]byte, 0, 64), verb, arg)
	if err != nil {
		return Reply{}, &Error{Stage: stage, Kind: Local, Err: err}
	}
	s.traceCommands(line)
	return s.put(stage, timeout, line)
}

// put sends one line that was traced and reads what answers it.
func (s *Session) put(stage Stage, timeout time.Duration, line []byte) (Reply, *Error) {
	f := form{plain: stage == StageHello, hello: stage == StageHello, auth: stage == StageAuth}
	if _, err := s.conn.Write(line); err != nil {
		s.wire.hurry()
		if r, _ := s.await(stage, timeout, f); r.Negative() { // a reply that cannot be read does not count
			s.closing = true
			return r, nil
		}
		return Reply{}, s.fail(stage, err)
	}
	return s.await(stage, timeout, f)
}

// want2 makes an Error from a reply that is not 2yz. After a refusal only QUIT makes
// sense; 3yz is an answer to DATA and AUTH only.
func (s *Session) want2(stage Stage, r Reply) *Error {
	switch {
	case r.Positive():
		return nil
	case r.Negative():
		s.closing = true
		return &Error{Stage: stage, Kind: Replied, Reply: r}
	default:
		return s.senseless(stage, r)
	}
}

// senseless returns the error for a reply whose class is invalid here.
func (s *Session) senseless(stage Stage, r Reply) *Error {
	return s.fail(stage, fmt.Errorf("%w: %s", errSenseless, r.String()))
}
