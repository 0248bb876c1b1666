package smtp_test

import (
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// TestTimesOfContent: a Result says when the content began, unless it went along with the
// envelope, and since when its reply was waited for.
func TestTimesOfContent(t *testing.T) {
	const second = time.Second
	slow := []smtptest.Cue{
		{At: smtptest.Mail, Delay: second}, {At: smtptest.Rcpt, Delay: second}, {At: smtptest.Data, Delay: second},
		{At: smtptest.Content, Nth: 1, Delay: second}, {At: smtptest.Final, Delay: 10 * second},
	}
	refusing := append([]smtptest.Cue{{At: smtptest.Rcpt, Delay: second, Reply: "550 5.1.1 no"}}, slow...)
	for _, c := range []struct {
		name    string
		host    *smtptest.Host
		warm    bool // a message was sent before
		content time.Duration
		awaited bool
	}{
		{"command by command", scripted(slow), false, 3 * second, true},
		{"command by command, once more", scripted(slow), true, 3 * second, true},
		{"in groups", scripted(slow, "PIPELINING"), true, 3 * second, true},
		{"in chunks", scripted(slow, "CHUNKING"), true, 2 * second, true},
		{"in chunks, along with the envelope", scripted(slow, "PIPELINING", "CHUNKING"), true, 0, true},
		{"no recipient", scripted(refusing), false, 0, false},
		{"no recipient in a group", scripted(refusing, "PIPELINING"), false, 0, false},
	} {
		with(t, c.name, c.host, func(r *rig) {
			r.open()
			if c.warm {
				r.send(message("first@e.test"))
				<-time.After(time.Minute)
			}
			began := time.Now()
			res := r.send(message("u@e.test"))
			round := func(at time.Time) time.Duration {
				if at.IsZero() {
					return 0
				}
				return at.Sub(began).Round(second / 10)
			}
			if got := round(res.ContentAt); got != c.content {
				r.t.Errorf("the content began after %v, want %v", got, c.content)
			}
			if res.AwaitedAt.IsZero() == c.awaited {
				r.t.Errorf("the reply was waited for since %v: %t", round(res.AwaitedAt), !c.awaited)
			}
			if taken := res.Rcpts[0].State == smtp.Delivered; taken != c.awaited || taken && time.Since(res.AwaitedAt) < 10*second {
				t.Errorf("delivered: %t, %v after the reply was waited for", taken, time.Since(res.AwaitedAt))
			}
		})
	}
}
