package smtp_test

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

func TestStartTLS(t *testing.T) {
	host := &smtptest.Host{
		Extensions:    []string{"STARTTLS", "SIZE 10", "DSN", "LIMITS RCPTMAX=1", "PIPELINING"},
		ExtensionsTLS: []string{"STARTTLS"},
		Capture:       true,
	}
	with(t, "TLS-1, TLS-3, EXT-27 everything said in clear is forgotten", host, func(r *rig) {
		r.open()
		if x := r.s.Extensions(); x.MaxSize != 10 || x.Limits.RcptMax != 1 || r.s.MaxRecipients() != 1 {
			r.t.Errorf("in clear: %+v", x)
		}
		r.must(r.s.StartTLS(r.t.Context(), insecure()))
		if x := r.s.Extensions(); x.ESMTP || x.DSN || x.MaxSize != 0 || r.s.Reusable() {
			r.t.Errorf("after the handshake: %+v", x)
		}
		if r.s.TLS() == nil {
			r.t.Error("no TLS")
		}
		wantErr(r.t, r.send(everything()).Err, smtp.StageMail, smtp.Exhausted)
		r.must(r.s.Hello(r.t.Context()))
		if x := r.s.Extensions(); x.Size || x.DSN || x.Pipelining || x.Limits.RcptMax != 0 {
			r.t.Errorf("in TLS: %+v", x)
		}
		tx := everything()
		tx.To = append(tx.To, tx.To[0])
		r.wantStates(r.send(tx), "delivered", "delivered")
		if got := r.commands(); got[1] != "MAIL FROM:<a@x.test>" {
			r.t.Errorf("said %q", got)
		}
		wantErr(r.t, r.s.StartTLS(r.t.Context(), insecure()), smtp.StageStartTLS, smtp.Unfit)
		r.s.Quit(r.t.Context())
		_, after, _ := strings.Cut(string(r.tap.AllWritten()), "STARTTLS\r\n")
		if !strings.HasPrefix(after, "\x16\x03") {
			r.t.Errorf("after STARTTLS came %q", after[:20])
		}
	})
	again := scripted([]smtptest.Cue{{At: smtptest.HelloTLS, Reply: "250-h\n250 STARTTLS"}}, "STARTTLS")
	with(t, "TLS-1 STARTTLS offered again inside TLS is ignored", again, func(r *rig) {
		r.open()
		r.must(r.s.StartTLS(r.t.Context(), insecure()))
		r.must(r.s.Hello(r.t.Context()))
		if !r.s.Extensions().StartTLS {
			r.t.Error("it is not offered again: this shows nothing")
		}
		wantErr(r.t, r.s.StartTLS(r.t.Context(), insecure()), smtp.StageStartTLS, smtp.Unfit)
		wantErr(r.t, r.s.Handshake(r.t.Context(), insecure()), smtp.StageHandshake, smtp.Unfit)
		if n := strings.Count(strings.Join(r.commands(), "\n"), "STARTTLS"); n != 1 {
			r.t.Errorf("%d times STARTTLS", n)
		}
		r.wantStates(r.send(message("u@e.test")), "delivered")
	})
	with(t, "TLS-1 not where it is not offered", offering("SIZE"), func(r *rig) {
		r.open()
		wantErr(r.t, r.s.StartTLS(r.t.Context(), insecure()), smtp.StageStartTLS, smtp.Unfit)
		r.wantStates(r.send(message("u@e.test")), "delivered")
		r.wantCommands("MAIL FROM:<a@x.test> SIZE=25", "RCPT TO:<u@e.test>", "DATA", "[25 octets]")
	})
	for _, reply := range []string{"454 not now", "502 what", "554 no"} {
		with(t, "TLS-4 "+reply+" leaves the session as it was", scripted([]smtptest.Cue{{At: smtptest.StartTLS, Reply: reply}}, "STARTTLS"), func(r *rig) {
			r.open()
			e := wantErr(r.t, r.s.StartTLS(r.t.Context(), insecure()), smtp.StageStartTLS, smtp.Replied)
			if e.Reply.String() != reply || !r.s.Reusable() {
				r.t.Errorf("reply %+v", e.Reply)
			}
			r.wantStates(r.send(message("u@e.test")), "delivered")
		})
	}
	with(t, "TLS-4, SMTP-19 421 to STARTTLS ends it", scripted([]smtptest.Cue{{At: smtptest.StartTLS, Reply: "421 no", Then: smtptest.Close}}, "STARTTLS"), func(r *rig) {
		r.open()
		wantErr(r.t, r.s.StartTLS(r.t.Context(), insecure()), smtp.StageStartTLS, smtp.Replied)
		if r.s.Reusable() {
			r.t.Error("still of use")
		}
	})
	evil := scripted([]smtptest.Cue{{At: smtptest.StartTLS, Raw: "220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n"}}, "STARTTLS")
	with(t, "TLS-2 octets behind the 220 end the session", abandoned(evil), func(r *rig) {
		r.open()
		wantErr(r.t, r.s.StartTLS(r.t.Context(), insecure()), smtp.StageStartTLS, smtp.Security)
		if len(r.s.Extensions().Auth) > 0 || r.s.Reusable() {
			r.t.Error("the injected reply was used")
		}
		r.s.Quit(r.t.Context())
		if got := string(r.tap.AllWritten()); !strings.HasSuffix(got, "STARTTLS\r\n") {
			r.t.Errorf("wrote %q", got)
		}
	})
	with(t, "TLS-4 a broken handshake ends the session", scripted([]smtptest.Cue{{At: smtptest.Handshake, Raw: "no TLS here, sorry\r\n", Then: smtptest.Close}}, "STARTTLS"), func(r *rig) {
		r.open()
		wantErr(r.t, r.s.StartTLS(r.t.Context(), insecure()), smtp.StageHandshake, smtp.BadTLS)
		if r.s.Reusable() || r.s.TLS() != nil {
			r.t.Error("still of use")
		}
	})
	with(t, "TLS-5 a certificate that does not verify ends the session", abandoned(offering("STARTTLS")), func(r *rig) {
		r.open()
		wantErr(r.t, r.s.StartTLS(r.t.Context(), &tls.Config{ServerName: "host.example"}), smtp.StageHandshake, smtp.BadTLS)
		if r.s.Reusable() {
			r.t.Error("still of use")
		}
		r.s.Quit(r.t.Context())
		if got := strings.Join(r.commands(), " "); strings.Contains(got, "MAIL") {
			r.t.Errorf("said %q", got)
		}
	})
	implicit := offering("PIPELINING", "CHUNKING")
	implicit.ImplicitTLS = true
	with(t, "TLS-11 TLS from the start", implicit, func(r *rig) {
		r.must(r.s.Handshake(r.t.Context(), insecure()))
		r.warm()
		n := r.trips()
		r.wantStates(r.send(message("u@e.test")), "delivered")
		if d := r.trips() - n; d != 1 {
			r.t.Errorf("%d round trips", d)
		}
		r.must(r.s.Check())
		if got := string(r.tap.AllWritten()); !strings.HasPrefix(got, "\x16\x03") || strings.Contains(got, "MAIL") {
			r.t.Errorf("wrote %q", got[:20])
		}
	})
}

func TestTLSVersions(t *testing.T) {
	old := &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	for name, config := range map[string]*tls.Config{
		"the default":            insecure(),
		"a config that asks for": {InsecureSkipVerify: true, MinVersion: tls.VersionTLS10},
	} {
		host := offering("STARTTLS")
		host.TLS = certified(t, old)
		with(t, "TLS-7 no TLS below 1.2, "+name, host, func(r *rig) {
			r.open()
			wantErr(r.t, r.s.StartTLS(r.t.Context(), config), smtp.StageHandshake, smtp.BadTLS)
		})
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		host := offering("STARTTLS", "PIPELINING")
		host.TLS = certified(t, &tls.Config{MaxVersion: version})
		with(t, "TLS-7 "+tls.VersionName(version), host, func(r *rig) {
			r.open()
			r.must(r.s.StartTLS(r.t.Context(), insecure()))
			r.must(r.s.Hello(r.t.Context()))
			if r.s.TLS().Version != version {
				r.t.Errorf("version %x", r.s.TLS().Version)
			}
			// Tickets that wait after the handshake are no reply.
			r.must(r.s.Check())
			r.wantStates(r.send(message("u@e.test")), "delivered")
			r.must(r.s.Check())
			tx := message("u@e.test")
			tx.Body = body(make(zeros, 3<<20).Bytes())
			r.wantStates(r.send(tx), "delivered")
		})
	}
}

// certified adds a certificate to a server's configuration.
func certified(t *testing.T, config *tls.Config) *tls.Config {
	t.Helper()
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Certificate("host.example")
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{cert}
	return config
}
