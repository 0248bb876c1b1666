package session

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// Fresh makes a session that is ready for mail, when the hop's gate, if it has one, has
// room for it. It may return a kept one that becomes free meanwhile.
func (p *Pool) Fresh(ctx context.Context, h *Hop, o Observer) (*Session, error) {
	defer p.unshaken(h)
	for {
		var place *pass
		if h.Gate != nil {
			place = &pass{gate: h.Gate, site: h.Site, host: h.Host.Name, addr: h.Addr.Addr()}
			if other, err := p.enter(ctx, h, place, o); err != nil || other != nil {
				return other, err
			}
		}
		made, err := p.connect(ctx, h, o, place)
		if err == nil {
			o.Secured(h.Host.Name, h.Addr, made.Protection)
			return made, nil
		}
		if !follows(err) {
			return nil, err
		}
		h.Judged = Judgement{}
	}
}

// enter waits at the hop's gate for the right to a connection, or for a kept session
// that will do, whichever comes first. While a limit is reached it ends a kept session
// that stands in the way.
func (p *Pool) enter(ctx context.Context, h *Hop, want *pass, o Observer) (*Session, error) {
	for {
		w := want.gate.join(want, h.key())
		if w == nil {
			return nil, nil
		}
		if other := p.before(h); other != nil {
			p.dismiss(w)
			if p.takeUp(other, h, o) {
				return other, nil
			}
			continue
		}
		if err := p.await(ctx, w); err != nil {
			p.dismiss(w)
			return nil, err
		}
		if w.sess == nil {
			return nil, nil
		}
		if p.idle.answers(w.sess, time.Now()) && p.takeUp(w.sess, h, o) {
			return w.sess, nil
		}
	}
}

// await waits until a waiter has something.
func (p *Pool) await(ctx context.Context, w *waiter) error {
	g := w.pass.gate
	for {
		if way := g.lacks(w); way != noLimit {
			if s := p.idle.oldest(func(p *pass) bool { return p.stands(way, w.pass) }); s != nil {
				g.ends(w, way)
				p.idle.end(s)
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.done:
			return nil
		case <-w.signal:
		}
	}
}

// dismiss ends a wait, and gives back what it was given meanwhile.
func (p *Pool) dismiss(w *waiter) {
	switch {
	case w.pass.gate.withdraw(w):
	case w.sess != nil:
		p.Keep(w.sess)
	default:
		w.pass.leave()
	}
}

// connect dials, reads the greeting, says EHLO, brings up the TLS that the policy
// asks for, and logs in (RFC 5321 sections 3.1 and 3.2, RFC 3207, RFC 4954).
func (p *Pool) connect(ctx context.Context, h *Hop, o Observer, place *pass) (*Session, error) {
	var conn net.Conn
	begun := false
	defer func() {
		if !begun { // it failed, or a hook of the application panicked
			abandon(conn)
			place.leave()
		}
	}()
	o.Connect(h.Host.Name, h.Addr)
	var err error
	h.Dialled, h.Took, h.resumption = time.Now(), Stages{}, nil
	h.since = h.Dialled
	conn, err = p.dial(ctx, h.Addr, h.Source)
	h.Took.Connect = h.lap()
	o.Connected(h.Host.Name, h.Addr, err)
	if err != nil {
		return nil, &Error{Dialling, err}
	}
	made := &Session{
		key: h.key(), Addr: h.Addr.String(), expires: h.Policy.Expires, born: h.since, pass: place,
	}
	made.Session, err = smtp.New(conn, p.smtpConfig(h))
	if err != nil {
		return nil, &Error{Starting, err}
	}
	made.follow(h, o)
	made.local = localOf(conn)
	h.again, h.Judged = h.Judged.Decision != nil, Judgement{}
	err = p.open(ctx, h, made, o)
	begun = true
	if err != nil {
		p.idle.end(made)
		return nil, err
	}
	made.Began = h.Without
	return made, nil
}

// abandon closes a connection without saying QUIT.
func abandon(conn net.Conn) {
	if conn != nil {
		_ = conn.Close()
	}
}

// smtpConfig returns the configuration of a session with a hop.
func (c *Config) smtpConfig(h *Hop) *smtp.Config {
	return &smtp.Config{Hello: c.Hello, Without: h.Without, Timeouts: c.Timeouts}
}

// open goes from the greeting to a session that satisfies the policy. Its protection is
// checked immediately before it may carry a secret, or mail (RFC 3207 section 4.1).
func (p *Pool) open(ctx context.Context, h *Hop, made *Session, o Observer) error {
	defer func() { h.Took.Hello += h.lap() }()
	made.Protection = Protection{Level: mx.TLSNone}
	if h.Host.ImplicitTLS {
		err := made.Handshake(ctx, p.resuming(&p.tickets, h, made))
		if h.Took.TLS = h.lap(); err != nil {
			return p.broke(ctx, h, made, err, o)
		}
		p.shook(h)
		made.secured(h)
		if err := p.inside(ctx, h, made, made.Greet(ctx), o); err != nil {
			return err
		}
	} else if err := made.Greet(ctx); err != nil {
		return err
	}
	if err := made.Hello(ctx); err != nil {
		return err
	}
	if err := p.secure(ctx, h, made, o); err != nil {
		return err
	}
	if made.Protection.Level < h.Policy.Level && h.Policy.Level >= mx.TLSEncrypt {
		return h.refusal(ErrNoTLS)
	}
	if h.Judged.Err != nil {
		return h.refusal(ErrNoTLS)
	}
	if p.isSelf(h, made.Extensions()) {
		return fmt.Errorf("%w, %s", ErrSelf, strings.TrimSuffix(made.Extensions().Greeting, "."))
	}
	if h.Probe {
		return nil
	}
	return logIn(ctx, &p.Memory, h, made)
}

// Probe makes a session up to the login, says QUIT, and returns its protection and the
// state of TLS, nil without TLS. TLS is not resumed, so that it shows what the host has
// now. No limits count it.
func (p *Pool) Probe(ctx context.Context, h *Hop, o Observer) (Protection, *tls.ConnectionState, error) {
	h.Gate, h.Probe = nil, true
	defer p.unshaken(h)
	made, err := p.connect(ctx, h, o, nil)
	if follows(err) {
		made, err = p.connect(ctx, h, o, nil)
	}
	if err != nil {
		return Protection{}, nil, err
	}
	defer p.idle.end(made)
	return made.Protection, made.TLS(), nil
}

// isSelf reports whether a server is this program under another address, by its reply to
// EHLO (RFC 5321 section 6.3). Other programs of this machine may have the same name, and
// the operator may have named one of them as the next hop.
func (p *Pool) isSelf(h *Hop, x *smtp.Extensions) bool {
	name := strings.TrimSuffix(x.Greeting, ".")
	if !slices.ContainsFunc(p.Self, func(self string) bool { return strings.EqualFold(name, strings.TrimSuffix(self, ".")) }) {
		return false
	}
	return !h.Named || p.SelfMark == "" || slices.Contains(strings.Fields(x.Remark), p.SelfMark)
}

// secure starts TLS if the level asks for it and the host offers it.
func (p *Pool) secure(ctx context.Context, h *Hop, made *Session, o Observer) error {
	level, offered := h.Level(), made.Extensions().StartTLS
	if made.TLS() == nil {
		made.helo = made.Extensions().Greeting
	}
	switch {
	case h.Host.ImplicitTLS:
		return nil
	case !offered:
		p.judge(h, made, Handshake{}, o)
		return nil
	case level == mx.TLSNone:
		p.judge(h, made, Handshake{Offered: true, Err: errLeftOut}, o)
		return nil
	}
	h.Took.Hello = h.lap()
	err := made.StartTLS(ctx, p.resuming(&p.tickets, h, made))
	if h.Took.TLS = h.lap(); err != nil {
		err = p.broke(ctx, h, made, err, o)
		if level == mx.TLSMay && made.Reusable() {
			return nil // refused, politely: the session goes on in clear
		}
		return err
	}
	p.shook(h)
	if err := p.inside(ctx, h, made, made.Hello(ctx), o); err != nil {
		return err
	}
	made.secured(h)
	return nil
}

// shook notes that a handshake has succeeded. If the one before had failed with modern key
// exchanges, the host is known to lack them.
func (p *Pool) shook(h *Hop) {
	if h.classic {
		h.classic = false
		p.Memory.Lacks(h.Addr, smtp.OptModern, time.Now())
	}
}

// unshaken ends a search that has not come to a second handshake. The host may lack modern
// key exchanges: the next attempt begins without them, for it may again be let in but once.
func (p *Pool) unshaken(h *Hop) {
	if h.classic {
		h.endSearch()
		p.Memory.Suspect(h.Addr, smtp.Doubt{Next: smtp.OptModern}, time.Now())
	}
}
