// Command gosmtp is an SMTP server by emersion/go-smtp that takes mail for the
// mailboxes of e.test, and keeps it in /var/vmail. A trace field says who has logged
// in.
//
//	gosmtp ADDR NAME CERT KEY USER PASSWORD
package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 7 {
		log.Fatal("usage: gosmtp ADDR NAME CERT KEY USER PASSWORD")
	}
	pair, err := tls.LoadX509KeyPair(os.Args[3], os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	b := &backend{name: os.Args[2], user: os.Args[5], password: os.Args[6], known: regexp.MustCompile(`^(u|v|r\d+)@e\.test$`)}
	s := smtp.NewServer(b)
	s.Addr, s.Domain = os.Args[1], b.name
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.AllowInsecureAuth, s.EnableSMTPUTF8, s.EnableBINARYMIME, s.EnableDSN = true, true, true, true
	s.MaxMessageBytes = 50 << 20
	log.Fatal(s.ListenAndServe())
}

// backend keeps mail.
type backend struct {
	name, user, password string
	known                *regexp.Regexp
	count                atomic.Int64
}

// NewSession makes the session of a connection.
func (b *backend) NewSession(*smtp.Conn) (smtp.Session, error) {
	return &session{backend: b, as: "nobody"}, nil
}

// session is one connection.
type session struct {
	*backend
	as string
	to []string
}

// AuthMechanisms are those offered.
func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth is a server for a mechanism.
func (s *session) Auth(string) (sasl.Server, error) { //nolint:unparam // go-smtp asks for this signature
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != s.user || password != s.password {
			return smtp.ErrAuthFailed
		}
		s.as = user
		return nil
	}), nil
}

// Mail takes any sender.
func (s *session) Mail(string, *smtp.MailOptions) error { return nil }

// Rcpt takes the mailboxes.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	m := s.known.FindStringSubmatch(to)
	if m == nil {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	}
	s.to = append(s.to, m[1])
	return nil
}

// Data keeps a message.
func (s *session) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	data = append(fmt.Appendf(nil, "Received: by %s for %s\r\n", s.name, s.as), data...)
	name := fmt.Sprint(s.count.Add(1))
	for _, local := range s.to {
		folder := filepath.Join("/var/vmail", local)
		err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, "."+name), data, 0o644),
			os.Rename(filepath.Join(folder, "."+name), filepath.Join(folder, name)))
		if err != nil {
			return err
		}
	}
	return nil
}

// Reset forgets the envelope.
func (s *session) Reset() { s.to = nil }

// Logout ends the session.
func (s *session) Logout() error { return nil }
