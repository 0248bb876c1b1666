package smtp

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Every command is made here and sealed by seal: no other code sends a CRLF except in
// content.

var (
	errControl  = errors.New("control character in a command")
	errNotASCII = errors.New("octet beyond ASCII in a command")
	errBlank    = errors.New("blank in a parameter")
)

// appendCommand appends one command with an argument, or without one if it is empty.
func appendCommand(dst []byte, verb, arg string) ([]byte, error) {
	start := len(dst)
	dst = append(dst, verb...)
	if arg != "" {
		dst = append(dst, ' ')
		dst = append(dst, arg...)
	}
	return seal(dst, start, false)
}

// seal checks the command that begins at start and ends it. A command with
// anything in it that could end it early, or begin another, is taken back.
func seal(dst []byte, start int, allowUTF8 bool) ([]byte, error) {
	ascii := true
	for _, c := range dst[start:] {
		if c < 0x20 || c == 0x7f {
			return dst[:start], errControl
		}
		ascii = ascii && c < 0x80
	}
	if !ascii && (!allowUTF8 || !utf8.Valid(dst[start:])) {
		return dst[:start], errNotASCII
	}
	return append(dst, '\r', '\n'), nil
}

// appendMail appends MAIL with the parameters that the server offers and the
// message needs (RFC 5321 section 4.1.1.2).
func (s *Session) appendMail(dst []byte, t *Transaction, p params) ([]byte, error) {
	start := len(dst)
	dst = append(dst, "MAIL FROM:<"...)
	if p.utf8 {
		dst = t.From.AppendTo(dst)
	} else {
		dst = t.From.AppendASCII(dst) // fit has made sure there is one
	}
	dst = append(dst, '>')
	if p.has(OptSize) {
		dst = append(dst, " SIZE="...)
		dst = strconv.AppendInt(dst, t.Body.Size(), 10)
	}
	if p.body != "" {
		dst = append(dst, " BODY="...)
		dst = append(dst, p.body...)
	}
	if p.utf8 {
		dst = append(dst, " SMTPUTF8"...)
	}
	if p.requireTLS {
		dst = append(dst, " REQUIRETLS"...)
	}
	if p.has(OptSubmitter) {
		dst = append(dst, " AUTH="...)
		dst = appendSubmitter(dst, t.Submitter)
	}
	if p.has(OptReturn) && t.Return != "" {
		if strings.Contains(t.Return, " ") {
			return dst[:start], errBlank
		}
		dst = append(dst, " RET="...)
		dst = append(dst, t.Return...)
	}
	if p.has(OptEnvelope) && t.EnvelopeID != "" {
		dst = append(dst, " ENVID="...)
		dst = appendXtext(dst, t.EnvelopeID)
	}
	return seal(dst, start, p.utf8)
}

// appendSubmitter appends the parameter AUTH: the submitter of the message, or <> if
// unknown (RFC 4954 section 5).
func appendSubmitter(dst []byte, submitter string) []byte {
	if submitter == "" {
		return append(dst, "<>"...)
	}
	return appendXtext(dst, submitter)
}

// appendRcpt appends RCPT (RFC 5321 section 4.1.1.3).
func (s *Session) appendRcpt(dst []byte, r *Rcpt, p params) ([]byte, error) {
	start := len(dst)
	dst = append(dst, "RCPT TO:<"...)
	if p.utf8 {
		dst = r.To.AppendTo(dst)
	} else {
		dst = r.To.AppendASCII(dst)
	}
	dst = append(dst, '>')
	if p.has(OptNotify) && r.Notify != "" {
		if strings.Contains(r.Notify, " ") {
			return dst[:start], errBlank
		}
		dst = append(dst, " NOTIFY="...)
		dst = append(dst, r.Notify...)
	}
	if p.has(OptOriginal) && r.OriginalType != "" {
		if strings.ContainsAny(r.OriginalType, " ;") {
			return dst[:start], errBlank
		}
		dst = append(dst, " ORCPT="...)
		dst = append(dst, r.OriginalType...)
		dst = append(dst, ';')
		if strings.EqualFold(r.OriginalType, "utf-8") {
			dst = appendUTF8Address(dst, r.Original, p.utf8)
		} else {
			dst = appendXtext(dst, r.Original)
		}
	}
	return seal(dst, start, p.utf8)
}

// appendXtext appends s as xtext (RFC 3461 section 4).
func appendXtext(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c > '~' || c == '+' || c == '=' {
			dst = append(dst, '+', hexDigits[c>>4], hexDigits[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// appendUTF8Address appends an address of type utf-8, its non-ASCII characters
// as they are only if the server has SMTPUTF8 (RFC 6533 section 3).
func appendUTF8Address(dst []byte, s string, raw bool) []byte {
	for _, r := range s {
		switch {
		case r <= ' ', r == '+', r == '=', r == '\\', r == 0x7f, r > 0x7f && !raw:
			dst = append(dst, `\x{`...)
			hex := strings.ToUpper(strconv.FormatInt(int64(r), 16))
			if len(hex) == 1 {
				dst = append(dst, '0')
			}
			dst = append(dst, hex...)
			dst = append(dst, '}')
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

// traceCommands shows the commands in b.
func (s *Session) traceCommands(b []byte) {
	if s.cfg.Trace == nil {
		return
	}
	for len(b) > 0 {
		line, rest, _ := bytes.Cut(b, []byte("\r\n"))
		s.cfg.Trace(Line{Sent: true, Text: string(appendEscaped(nil, line, false))})
		b = rest
	}
}

// traceContent shows that content went out.
func (s *Session) traceContent(n int64) {
	if s.cfg.Trace != nil {
		s.cfg.Trace(Line{Sent: true, Text: "<" + strconv.FormatInt(n, 10) + " octets of content>"})
	}
}
