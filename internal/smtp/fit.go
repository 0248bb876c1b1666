package smtp

import (
	"cmp"
	"errors"
)

// params are the parameters a transaction may and must use with a server. None
// is there unless the newest EHLO reply offers it (RFC 5321 section 4.1.1.11).
type params struct {
	size       bool
	utf8       bool
	requireTLS bool
	auth       bool
	body       string // "", "8BITMIME" or "BINARYMIME"
	dsnMail    bool
	dsnRcpt    bool
}

var (
	errNoRecipients = errors.New("no recipients")
	errTooLarge     = errors.New("larger than the server takes")
	errEightBit     = errors.New("8-bit content, and the server takes 7-bit only")
	errBinary       = errors.New("binary content, and the server does not take it")
	errUTF8Header   = errors.New("UTF-8 in the header, and the server lacks SMTPUTF8")
	errUTF8Address  = errors.New("the address needs SMTPUTF8, which the server lacks")
	errRequireTLS   = errors.New("the message needs REQUIRETLS, which the server lacks")
	errUsedUp       = errors.New("the session may carry no more")
)

// fit finds the parameters for a transaction, or why the server cannot be given
// it. Nothing has been sent by then.
func (s *Session) fit(t *Transaction) (params, *Error) {
	x := &s.ext
	unfit := func(status string, why error) (params, *Error) {
		return params{}, &Error{Stage: StageMail, Kind: Unfit, Enhanced: status, Err: why}
	}
	switch {
	case len(t.To) == 0:
		return unfit("5.5.4", errNoRecipients)
	case x.MaxSize > 0 && t.Body.Size() > x.MaxSize: // RFC 1870 section 4
		return unfit("5.3.4", errTooLarge)
	case t.Binary && !(x.BinaryMIME && s.chunking()): // RFC 3030 section 3
		return unfit("5.6.1", errBinary)
	case t.EightBit && !t.Binary && !x.EightBitMIME: // RFC 6152 section 3
		return unfit("5.6.3", cmp.Or(t.NotConverted, errEightBit))
	case t.UTF8 && !x.SMTPUTF8: // RFC 6531 section 3.5
		return unfit("5.6.9", errUTF8Header)
	case t.From.NeedsUTF8() && !x.SMTPUTF8:
		return unfit("5.6.7", errUTF8Address)
	case t.RequireTLS && !(x.RequireTLS && s.tls != nil): // RFC 8689 section 4.1
		return unfit("5.7.30", errRequireTLS)
	}
	p := params{
		size:       x.Size && !s.bareMail,
		utf8:       x.SMTPUTF8 && t.needsUTF8(),
		requireTLS: t.RequireTLS,
		auth:       s.passesSubmitter() && !s.bareMail,
		dsnMail:    x.DSN && !s.bareMail,
		dsnRcpt:    x.DSN && !s.bareRcpt,
	}
	switch {
	case t.Binary:
		p.body = "BINARYMIME"
	case t.EightBit || t.UTF8 && x.EightBitMIME:
		p.body = "8BITMIME"
	}
	return p, nil
}

// needsUTF8 reports whether the message makes no sense without SMTPUTF8. One
// whose addresses are beyond ASCII in their domains only does: they are sent
// as A-labels (RFC 6531 section 3.2).
func (t *Transaction) needsUTF8() bool {
	if t.UTF8 || t.From.NeedsUTF8() {
		return true
	}
	for i := range t.To {
		if t.To[i].To.NeedsUTF8() {
			return true
		}
	}
	return false
}

// chunking reports whether BDAT may be used.
func (s *Session) chunking() bool { return s.ext.Chunking && !s.cfg.NoChunking }

// optionalMail and optionalRcpt report whether a command had parameters it can
// do without, should the server not know them (RFC 5321 section 4.1.1.11).
func (p *params) optionalMail(t *Transaction) bool {
	return p.size || p.auth || p.dsnMail && (t.Return != "" || t.EnvelopeID != "")
}

func (p *params) optionalRcpt(r *Rcpt) bool {
	return p.dsnRcpt && (r.Notify != "" || r.OriginalType != "")
}
