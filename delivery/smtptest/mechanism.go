package smtptest

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"strings"
)

// mechanism is a SASL mechanism a Host knows.
type mechanism struct {
	run   func(*exchange) (user string, ok bool, err error)
	clear bool // the secret itself goes over the wire
}

// mechanisms are those there are, by name.
func mechanisms() map[string]mechanism {
	return map[string]mechanism{
		"PLAIN":              {run: (*exchange).plain, clear: true},
		"LOGIN":              {run: (*exchange).login, clear: true},
		"XOAUTH2":            {run: (*exchange).xoauth2, clear: true},
		"OAUTHBEARER":        {run: (*exchange).bearer, clear: true},
		"EXTERNAL":           {run: (*exchange).external},
		"CRAM-MD5":           {run: (*exchange).cram},
		"SCRAM-SHA-256":      {run: func(e *exchange) (string, bool, error) { return e.scram(false) }},
		"SCRAM-SHA-256-PLUS": {run: func(e *exchange) (string, bool, error) { return e.scram(true) }},
	}
}

// knows reports whether the secret is the user's.
func (e *exchange) knows(user, secret string) bool {
	want, ok := e.s.host.Users[user]
	return ok && want == secret
}

// plain is RFC 4616.
func (e *exchange) plain() (string, bool, error) {
	p, err := e.first()
	if err != nil {
		return "", false, err
	}
	parts := bytes.Split(p, []byte{0})
	if len(parts) != 3 {
		return "", false, nil
	}
	user := string(parts[1])
	return user, e.knows(user, string(parts[2])), nil
}

// login is the mechanism that draft-murchison-sasl-login wrote down.
func (e *exchange) login() (string, bool, error) {
	user := e.initial
	var err error
	if !e.given {
		if user, err = e.ask([]byte("Username:")); err != nil {
			return "", false, err
		}
	}
	password, err := e.ask([]byte("Password:"))
	if err != nil {
		return "", false, err
	}
	return string(user), e.knows(string(user), string(password)), nil
}

// external takes the name in the client's certificate (RFC 4422 appendix A).
func (e *exchange) external() (string, bool, error) {
	asked, err := e.first()
	if err != nil {
		return "", false, err
	}
	user := string(asked)
	c := e.s.clientName()
	if user == "" {
		user = c
	}
	return user, c != "" && user == c, nil
}

// clientName is the first DNS name of the client's certificate.
func (s *session) clientName() string {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	if s.rec.TLS == nil || len(s.rec.TLS.PeerCertificates) == 0 || len(s.rec.TLS.PeerCertificates[0].DNSNames) == 0 {
		return ""
	}
	return s.rec.TLS.PeerCertificates[0].DNSNames[0]
}

// cram is RFC 2195.
func (e *exchange) cram() (string, bool, error) {
	challenge := "<1896.697170952@" + e.s.host.name() + ">"
	p, err := e.ask([]byte(challenge))
	if err != nil {
		return "", false, err
	}
	user, digest, ok := cutLast(string(p), " ")
	if !ok {
		return "", false, nil
	}
	password, known := e.s.host.Users[user]
	mac := hmac.New(md5.New, []byte(password))
	mac.Write([]byte(challenge))
	return user, known && hex.EncodeToString(mac.Sum(nil)) == digest, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// xoauth2 is the mechanism of Google and Microsoft: a refusal is a challenge with the
// reason, which the client answers with an empty response.
func (e *exchange) xoauth2() (string, bool, error) {
	p, err := e.first()
	if err != nil {
		return "", false, err
	}
	fields := oauthFields(string(p))
	user := fields["user"]
	return e.token(user, fields["auth"], `{"status":"401","schemes":"bearer"}`)
}

// bearer is RFC 7628.
func (e *exchange) bearer() (string, bool, error) {
	p, err := e.first()
	if err != nil {
		return "", false, err
	}
	header, rest, _ := strings.Cut(string(p), "\x01")
	user := ""
	for part := range strings.SplitSeq(header, ",") {
		if name, ok := strings.CutPrefix(part, "a="); ok {
			user = name
		}
	}
	return e.token(user, oauthFields(rest)["auth"], `{"status":"invalid_token"}`)
}

func oauthFields(text string) map[string]string {
	fields := map[string]string{}
	for part := range strings.SplitSeq(text, "\x01") {
		if key, value, ok := strings.Cut(part, "="); ok {
			fields[strings.ToLower(key)] = value
		}
	}
	return fields
}

func (e *exchange) token(user, header, reason string) (string, bool, error) {
	scheme, token, _ := strings.Cut(header, " ")
	if strings.EqualFold(scheme, "Bearer") && e.knows(user, token) {
		return user, true, nil
	}
	_, err := e.ask([]byte(reason))
	return user, false, err
}
