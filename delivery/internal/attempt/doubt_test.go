package attempt

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

func mailbox(t *testing.T, s string) address.Mailbox {
	t.Helper()
	m, err := address.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// walkTo is a walk with nothing special about it, and where it is.
func walkTo() (*Walk, *session.Hop) {
	w := &Walk{job: &Job{config: &Config{Sessions: new(session.Pool)}, message: &queue.Message{From: "a@from.test"}}}
	return w, &session.Hop{
		Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: &session.Policy{Level: mx.TLSMay},
	}
}

// TestNeedsExtensions is which messages cannot go where there is no EHLO.
func TestNeedsExtensions(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *Walk)
		want   bool
	}{
		"7 bits":                  {func(*Walk) {}, false},
		"8 bits":                  {func(w *Walk) { w.job.body.EightBit = true }, true},
		"UTF-8 in the header":     {func(w *Walk) { w.job.body.UTF8Header = true }, true},
		"REQUIRETLS":              {func(w *Walk) { w.job.tls = queue.TLSRequired }, true},
		"REQUIRETLS for a report": {func(w *Walk) { w.job.tls, w.job.message.From = queue.TLSRequired, "" }, false},
		"a reverse-path in UTF-8": {func(w *Walk) { w.job.from = mailbox(t, "é@from.test") }, true},
		"plain recipients": {func(w *Walk) {
			w.ledger.rcpts = []rcpt{{mailbox: mailbox(t, "u@e.test")}, {mailbox: mailbox(t, "v@e.test")}}
		}, false},
		"the second of them is not": {func(w *Walk) {
			w.ledger.rcpts = []rcpt{{mailbox: mailbox(t, "u@e.test")}, {mailbox: mailbox(t, "é@e.test")}}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := walkTo()
			c.change(w)
			if got := w.needsExtensions(); got != c.want {
				t.Errorf("%t, want %t", got, c.want)
			}
		})
	}
}

// TestSpared is what may be left out at once of what an error calls into doubt.
func TestSpared(t *testing.T) {
	doubted := &smtp.Error{Stage: smtp.StageHandshake, Kind: smtp.BadTLS, Err: errors.New("x"), Doubt: smtp.Doubt{Now: smtp.OptTLS | smtp.OptEHLO | smtp.OptSize}}
	distrusted := &smtp.Error{Stage: smtp.StageHandshake, Kind: smtp.BadTLS, Doubt: doubted.Doubt,
		Err: &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}}
	for name, c := range map[string]struct {
		err    *smtp.Error
		change func(w *Walk, h *session.Hop)
		want   smtp.Option
	}{
		"all":                        {doubted, func(*Walk, *session.Hop) {}, smtp.OptTLS | smtp.OptEHLO | smtp.OptSize},
		"what is not yet":            {doubted, func(_ *Walk, h *session.Hop) { h.Without = smtp.OptSize }, smtp.OptTLS | smtp.OptEHLO},
		"not TLS that is required":   {doubted, func(_ *Walk, h *session.Hop) { h.Policy.Level = mx.TLSEncrypt }, smtp.OptSize},
		"not EHLO where it is":       {doubted, func(w *Walk, _ *session.Hop) { w.job.body.EightBit = true }, smtp.OptTLS | smtp.OptSize},
		"nothing after a wrong name": {distrusted, func(*Walk, *session.Hop) {}, 0},
	} {
		t.Run("TLS-4 "+name, func(t *testing.T) {
			w, h := walkTo()
			c.change(w, h)
			if got := w.spare(h, c.err); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
	w, h := walkTo()
	if got := w.without(h); got != 0 {
		t.Errorf("without %v from the start, want nothing", got)
	}
	w.sessions().Memory.Lacks(h.Addr, smtp.OptTLS|smtp.OptSize, time.Now())
	if got := w.without(h); got != smtp.OptTLS|smtp.OptSize {
		t.Errorf("without %v from the start, want STARTTLS, SIZE", got)
	}
	h.Policy.Level = mx.TLSEncrypt
	if got := w.without(h); got != smtp.OptSize {
		t.Errorf("without %v from the start where TLS is required, want SIZE", got)
	}
}

// TestNoted is what a session that did not come about leaves behind.
func TestNoted(t *testing.T) {
	const tlsAndSize = smtp.OptTLS | smtp.OptSize
	for _, c := range []struct {
		name    string
		err     *smtp.Error
		atOnce  smtp.Option
		without smtp.Option // in the session, and suspected before it
		want    smtp.Option // what the next attempt does without
		later   smtp.Option // and the one after that, if all is well without
	}{
		{"nothing", &smtp.Error{Stage: smtp.StageHello}, 0, 0, 0, 0},
		{"what is left out at once is known", &smtp.Error{Stage: smtp.StageHandshake}, tlsAndSize, 0, tlsAndSize, tlsAndSize},
		{"but for what is of the moment", &smtp.Error{Stage: smtp.StageHandshake, Doubt: smtp.Doubt{Brief: smtp.OptTLS}}, tlsAndSize, 0, smtp.OptSize, smtp.OptSize},
		{"what is in doubt is suspected", &smtp.Error{Stage: smtp.StageHello, Doubt: smtp.Doubt{Next: smtp.OptEHLO}}, 0, 0, smtp.OptEHLO, smtp.OptEHLO},
		{"what is of the moment as well", &smtp.Error{Stage: smtp.StageHello, Doubt: smtp.Doubt{Next: smtp.OptEHLO, Brief: smtp.OptEHLO}}, 0, 0, smtp.OptEHLO, 0},
		{"a failure without it was not that", &smtp.Error{Stage: smtp.StageHello}, 0, smtp.OptEHLO, 0, 0},
		{"but in the greeting its turn had not come", &smtp.Error{Stage: smtp.StageBanner}, 0, smtp.OptEHLO, smtp.OptEHLO, smtp.OptEHLO},
		{"nor has it before MAIL", &smtp.Error{Stage: smtp.StageHello}, 0, smtp.OptSize, smtp.OptSize, smtp.OptSize},
	} {
		t.Run("SMTP-3 "+c.name, func(t *testing.T) {
			w, h := walkTo()
			memory, now := &w.sessions().Memory, time.Now()
			if h.Without = c.without; c.without != 0 {
				memory.Suspect(h.Addr, smtp.Doubt{Next: c.without}, now)
			}
			w.noted(h, c.err, c.atOnce)
			if got := memory.Without(h.Addr, now); got != c.want {
				t.Errorf("next time without %v, want %v", got, c.want)
			}
			memory.Confirm(h.Addr, c.want, now)
			if got := memory.Without(h.Addr, now); got != c.later {
				t.Errorf("later without %v, want %v", got, c.later)
			}
		})
	}
}

// TestSuspicionRunsOut: a failure that casts no doubt does not make an older suspicion
// last longer.
func TestSuspicionRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, h := walkTo()
		memory := &w.sessions().Memory
		memory.Suspect(h.Addr, smtp.Doubt{Next: smtp.OptSize}, time.Now())
		time.Sleep(20 * time.Hour)
		w.noted(h, &smtp.Error{Stage: smtp.StageHello}, 0)
		w.learn(h, &session.Session{Session: new(smtp.Session)}, &result{ended: time.Now()})
		time.Sleep(3 * time.Hour)
		if got := memory.Without(h.Addr, time.Now()); got != smtp.OptSize {
			t.Errorf("after 23 hours without %v, want SIZE", got)
		}
		time.Sleep(2 * time.Hour)
		if got := memory.Without(h.Addr, time.Now()); got != 0 {
			t.Errorf("after 25 hours without %v, want nothing", got)
		}
	})
}

// TestLearnt is what a transaction leaves behind of what was suspected.
func TestLearnt(t *testing.T) {
	const suspected = smtp.OptNotify
	for _, c := range []struct {
		name    string
		without smtp.Option
		result  result
		want    smtp.Option // what is left out the next time
		known   smtp.Option // of that, what is shown
	}{
		{"all is well without it", suspected, result{reachedMail: true}, suspected, suspected},
		{"nothing was said", suspected, result{}, suspected, 0},
		{"it failed without", suspected, result{failed: true}, 0, 0},
		{"it was stale", suspected, result{stale: true, failed: true}, suspected, 0},
		{"it was not left out", 0, result{reachedMail: true}, suspected, 0},
		{"something else is in doubt", suspected, result{reachedMail: true, failed: true, doubt: smtp.Doubt{Next: smtp.OptReturn}}, smtp.OptReturn, 0},
	} {
		t.Run("SMTP-25 "+c.name, func(t *testing.T) {
			w, h := walkTo()
			memory, now := &w.sessions().Memory, time.Now()
			memory.Suspect(h.Addr, smtp.Doubt{Next: suspected}, now)
			h.Without, c.result.ended = c.without, now
			w.learn(h, &session.Session{Session: new(smtp.Session)}, &c.result)
			if got := memory.Without(h.Addr, now); got != c.want {
				t.Errorf("without %v, want %v", got, c.want)
			}
			memory.Acquit(h.Addr, ^smtp.Option(0), now)
			if got := memory.Without(h.Addr, now); got != c.known {
				t.Errorf("known is %v, want %v", got, c.known)
			}
		})
	}
}

// TestKeptSessionsShowNothingOfHowOneBegins: what the next connection is to leave out when
// it begins is neither confirmed nor acquitted by a session that was kept from before, which
// has begun without leaving it out.
func TestKeptSessionsShowNothingOfHowOneBegins(t *testing.T) {
	const suspects = smtp.OptModern | smtp.OptPlain
	addr := netip.AddrPortFrom(addressOf(1), 25)
	for name, c := range map[string]struct {
		cue  smtptest.Cue
		want string
	}{
		"it carries a message":  {smtptest.Cue{}, "u delivered by mx1; mx1@1 again taken, settled"},
		"it fails in one":       {smtptest.Cue{At: smtptest.Data, Nth: 2, Then: smtptest.Close}, "u deferred by mx1 4.4.2; mx1@1 again not now 4.4.2 doubts PIPELINING, no host left"},
		"it refuses a message":  {smtptest.Cue{At: smtptest.Mail, Nth: 2, Reply: "550 5.7.1 no"}, "u failed by mx1 5.7.1; mx1@1 again refused 5.7.1, settled"},
		"it was closed already": {smtptest.Cue{At: smtptest.Final, Nth: 1, Raw: "250 ok\r\n", Then: smtptest.Close}, "u delivered by mx1; mx1@1 taken without modern key exchange, PLAIN, settled"},
	} {
		tour(t, name, []*smtptest.Host{host(c.cue)}, func(tr *trip) {
			memory := &tr.config.Sessions.Memory
			tr.want("u", "u delivered by mx1; mx1@1 taken, settled")
			memory.Suspect(addr, smtp.Doubt{Next: suspects}, time.Now())
			tr.want("u", c.want)
			if len(tr.dials) > 0 { // a new one shows it
				time.Sleep(time.Minute)
				memory.Acquit(addr, suspects, time.Now())
				if got := memory.Without(addr, time.Now()); got != suspects {
					tr.t.Errorf("known not to work: %v, want %v", got, suspects)
				}
				return
			}
			if got := memory.Without(addr, time.Now()) & suspects; got != suspects {
				tr.t.Errorf("left out next time: %v, want %v", got, suspects)
			}
			memory.Acquit(addr, suspects, time.Now())
			if got := memory.Without(addr, time.Now()) & suspects; got != 0 {
				tr.t.Errorf("known not to work: %v, though nothing has shown that", got)
			}
		})
	}
}
