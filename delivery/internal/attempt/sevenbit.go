package attempt

import (
	"sync"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/content"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// sevenBit is the content of a job for hosts that take 7 bits only, made once it is
// needed.
type sevenBit struct {
	once sync.Once
	body content.Body
	err  error // why there is none
}

// bodyFor is the content for a host: the message's own, or a 7-bit form of it if the
// host takes nothing else (RFC 6152 section 3). The error is why there is no such
// form; the body is the message's own then.
func (j *Job) bodyFor(sess *session.Session) (*content.Body, error) {
	if !j.body.EightBit || sess.Extensions().EightBitMIME && sess.Without()&smtp.OptBody == 0 {
		return &j.body, nil
	}
	if !j.convertible() {
		return &j.body, j.seven.err
	}
	return &j.seven.body, nil
}

// convertible reports whether there is a 7-bit form of the content.
func (j *Job) convertible() bool {
	j.seven.once.Do(func() { j.seven.body, j.seven.err = content.SevenBit(&j.body, j.config.Convert) })
	return j.seven.err == nil
}
