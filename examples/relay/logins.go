package main

import (
	"context"
	"os"
	"sync/atomic"

	"github.com/nexthop-mail/nexthop/examples/internal/login"
	"github.com/nexthop-mail/nexthop/examples/internal/smtpd"
)

// logins are the users in the file of -logins, which may be read again while it is in
// use. Nil means none.
type logins struct {
	file    string
	current atomic.Pointer[login.Users]
}

func newLogins(file string) (*logins, error) {
	if file == "" {
		return nil, nil
	}
	l := &logins{file: file}
	return l, l.read()
}

// read reads the file. If there is an error, nothing changes.
func (l *logins) read() error {
	if l == nil {
		return nil
	}
	users, err := login.Read(l.file)
	if err == nil {
		l.current.Store(users)
	}
	return err
}

func (l *logins) files() []string {
	if l == nil {
		return nil
	}
	return []string{l.file}
}

// readable reports whether others on this machine can read the file: they can guess
// passwords with it for as long as they like.
func (l *logins) readable() bool {
	if l == nil {
		return false
	}
	info, err := os.Stat(l.file)
	return err == nil && info.Mode().Perm()&0o004 != 0
}

// of is what the server has of them.
func (l *logins) of() func() *login.Users {
	if l == nil {
		return nil
	}
	return l.current.Load
}

// mail says whether a client may use a reverse-path. Users are looked for at each
// message, so that one who is no more sends no more.
func (l *logins) mail(_ context.Context, t *smtpd.Transaction) smtpd.Reply {
	if t.User == "" {
		return smtpd.Reply{}
	}
	u := l.current.Load().Find(t.User)
	switch {
	case u == nil:
		return smtpd.Reply{Code: 530, Enhanced: "5.7.0", Text: "you cannot log in any more"}
	case !u.MaySendFrom(t.From):
		return smtpd.Reply{Code: 553, Enhanced: "5.7.1", Text: "you may not send from this address"}
	}
	return smtpd.Reply{}
}
