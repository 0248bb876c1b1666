package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// resuming is the TLS client configuration for a hop, by which TLS is resumed.
func (c *Config) resuming(from *tickets, h *Hop, made *Session) *tls.Config {
	t := c.tlsConfig(h, made)
	if h.Probe {
		return t
	}
	r := &resumption{tickets: from, of: identity{
		host: h.Host.Name, addr: h.Addr, level: h.Level(), serverName: h.Policy.ServerName, policy: h.Policy.Key,
		minVersion: h.Policy.MinVersion, shown: h.shows(),
	}}
	h.resumption, t.ClientSessionCache = r, r
	t.VerifyConnection = both(func(state tls.ConnectionState) error {
		if !state.DidResume {
			r.whole, r.since = true, time.Now()
		}
		return nil
	}, t.VerifyConnection)
	return t
}

// forgoTicket reports whether a connection on which a TLS session was offered failed in
// a way that the ticket may have caused. Then none is offered for some time: resumption
// must neither hold back mail nor have it sent in clear.
func forgoTicket(ctx context.Context, h *Hop, err error) bool {
	r := h.resumption
	if r == nil || !r.offered || r.whole || ctx.Err() != nil {
		return false
	}
	if se, ok := errors.AsType[*smtp.Error](err); !ok || !inHandshake(se) {
		return false
	}
	r.refuse(r.of, time.Now())
	return true
}

// inHandshake reports whether the host may have failed in the handshake. With TLS 1.3
// the host ends it after the client, so that its failure may show as the loss of the
// connection before it has sent anything inside TLS.
func inHandshake(e *smtp.Error) bool {
	switch e.Stage {
	case smtp.StageHandshake:
		return true
	case smtp.StageBanner:
		return e.Kind != smtp.Replied
	default:
		return (e.Doubt.Now|e.Doubt.Next)&smtp.OptTLS != 0
	}
}

// inside takes the error of the first step inside TLS, which may be nil, and tells what
// the connection is worth: by then it is known whether the host has made the handshake,
// too. If another connection follows, it returns an error that says so (follows).
func (c *Config) inside(ctx context.Context, h *Hop, made *Session, err error, o Observer) error {
	err = c.begins(ctx, h, err)
	se, failed := errors.AsType[*smtp.Error](err)
	switch {
	case follows(err):
		return err
	case failed && se.Kind != smtp.Timeout && se.Kind != smtp.Canceled && inHandshake(se):
		c.judge(h, made, Handshake{Offered: true, Err: err}, o)
		return h.refusal(err)
	}
	made.tell(o)
	return err
}

// begins returns the error of the handshake, or of the first step inside TLS, if there is
// one, and whether another connection follows (follows).
func (c *Config) begins(ctx context.Context, h *Hop, err error) error {
	switch {
	case forgoTicket(ctx, h, err):
		return fmt.Errorf("%w: %w", errNotResumed, err)
	case c.forgoModern(h, err):
		return fmt.Errorf("%w: %w", errModern, err)
	}
	return err
}

// follows reports whether a connection that failed is followed by another one, to find
// out whether something that TLS can do without was the cause.
func follows(err error) bool { return errors.Is(err, errNotResumed) || errors.Is(err, errModern) }

// errModern is a connection that may have failed because of modern key exchanges.
var errModern = errors.New("TLS with modern key exchanges did not come about")

// forgoModern reports whether a handshake failed in a way that a ClientHello without
// modern key exchanges may avoid: it is tried before TLS is given up, at every level. If
// that handshake fails as well, they were not the cause.
func (c *Config) forgoModern(h *Hop, err error) bool {
	se, ok := errors.AsType[*smtp.Error](err)
	switch {
	case !ok:
		return false
	case h.Without&smtp.OptModern != 0 || !smtp.HasModern(c.TLSConfig, h.Policy.Level < mx.TLSVerify) || !se.BlamesHello() || Distrusted(err):
		return false
	case h.resumption != nil && h.resumption.whole: // the host had chosen by then
		return false
	}
	h.Without |= smtp.OptModern
	h.classic = true
	return true
}

// broke returns the error of a failed handshake, and tells of the judgement of the
// policy's source. If another connection follows, it returns an error that says so.
func (c *Config) broke(ctx context.Context, h *Hop, made *Session, err error, o Observer) error {
	if err = c.begins(ctx, h, err); follows(err) {
		return err
	}
	if se, ok := errors.AsType[*smtp.Error](err); ok && se.Stage == smtp.StageHandshake {
		h.endSearch() // it fails without as well
	}
	if Distrusted(err) {
		made.tell(o)
		return h.refusal(err)
	}
	c.judge(h, made, Handshake{Offered: true, Err: err, Unparsable: unparsable(err)}, o)
	return h.refusal(err)
}
