package smtp

import (
	"cmp"
	"errors"
)

// params are the parameters that a transaction may and must use with a server. Only
// parameters that the latest EHLO reply offers are among them (RFC 5321 section
// 4.1.1.11).
type params struct {
	utf8       bool
	requireTLS bool
	body       string // "", "8BITMIME" or "BINARYMIME"
	options    Option // the others, which the server can be spared
}

// has reports whether an option may be used.
func (p *params) has(o Option) bool { return p.options&o != 0 }

var (
	errNoRecipients = errors.New("no recipients")
	errTooLarge     = errors.New("larger than the server takes")
	errEightBit     = errors.New("8-bit content, and the server takes 7-bit only")
	errBinary       = errors.New("binary content, and the server does not take it")
	errUTF8Header   = errors.New("UTF-8 in the header, and the server lacks SMTPUTF8")
	errUTF8Address  = errors.New("the address needs SMTPUTF8, which the server lacks")
	errRequireTLS   = errors.New("the message needs REQUIRETLS, which the server lacks")
	errUsedUp       = errors.New("the session may carry no more")
	errInClear      = errors.New("TLS is required and not in use")
)

// fit returns the parameters for a transaction, or why the message cannot be sent to
// the server. Nothing has been sent by then.
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
	case t.Encrypted && s.tls == nil:
		return unfit("4.7.4", errInClear)
	case t.RequireTLS && !(x.RequireTLS && s.tls != nil): // RFC 8689 section 4.1
		return unfit("5.7.30", errRequireTLS)
	}
	p := params{
		utf8:       x.SMTPUTF8 && t.needsUTF8(),
		requireTLS: t.RequireTLS,
		options:    s.offered() &^ (s.without | s.trial),
	}
	switch {
	case t.Binary:
		p.body = "BINARYMIME"
	case t.EightBit || t.UTF8 && x.EightBitMIME:
		p.body = "8BITMIME"
	}
	return p, nil
}

// needsUTF8 reports whether the message requires SMTPUTF8. If only the domains of its
// addresses are beyond ASCII, it does not: they are sent as A-labels (RFC 6531 section
// 3.2).
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

// offered are the options of a transaction that the newest EHLO reply offers.
func (s *Session) offered() (o Option) {
	x := &s.ext
	for _, has := range [...]struct {
		it     bool
		option Option
	}{
		{x.Pipelining, OptPipelining},
		{x.Chunking, OptChunking},
		{x.Size, OptSize},
		{x.DSN, OptReturn | OptEnvelope | rcptOptions},
		{x.AuthParameter && s.authenticated, OptSubmitter}, // RFC 4954 section 5
	} {
		if has.it {
			o |= has.option
		}
	}
	return o
}

// chunking reports whether BDAT may be used.
func (s *Session) chunking() bool { return s.ext.Chunking && s.without&OptChunking == 0 }

// saidAtMail and saidAtRcpt are the options that a command of the transaction had.
func (p *params) saidAtMail(t *Transaction) Option {
	said := p.options & (OptSize | OptSubmitter)
	if t.Return != "" {
		said |= p.options & OptReturn
	}
	if t.EnvelopeID != "" {
		said |= p.options & OptEnvelope
	}
	return said
}

// bodySaid is OptBody where MAIL had BODY for content that has another form.
func (p *params) bodySaid(t *Transaction) Option {
	if p.body == "8BITMIME" && t.Convertible != nil && t.Convertible() {
		return OptBody
	}
	return 0
}

func (p *params) saidAtRcpt(r *Rcpt) (said Option) {
	if r.Notify != "" {
		said |= p.options & OptNotify
	}
	if r.OriginalType != "" {
		said |= p.options & OptOriginal
	}
	return said
}
