package attempt

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestStatusFor is the enhanced status code of a reply that has none, at every stage.
func TestStatusFor(t *testing.T) {
	for _, c := range []struct {
		stage Stage // StageMessage: any
		code  int
		want  string
	}{
		{StageMessage, 421, "4.3.2"}, {StageMessage, 521, "5.3.2"}, {StageMessage, 450, "4.2.0"}, {StageMessage, 451, "4.3.0"},
		{StageRcpt, 452, "4.5.3"}, {StageMail, 452, "4.3.1"}, {StageContent, 452, "4.3.1"},
		{StageMessage, 454, "4.7.0"}, {StageMessage, 530, "5.7.0"},
		{StageMessage, 455, "4.5.4"}, {StageMessage, 501, "5.5.4"}, {StageMessage, 504, "5.5.4"}, {StageMessage, 555, "5.5.4"},
		{StageMessage, 500, "5.5.2"}, {StageMessage, 502, "5.5.1"}, {StageMessage, 503, "5.5.1"}, {StageMessage, 432, "4.7.12"},
		{StageMessage, 534, "5.7.9"}, {StageMessage, 535, "5.7.8"}, {StageMessage, 538, "5.7.11"},
		{StageMessage, 551, "5.1.6"}, {StageMessage, 556, "5.1.10"},
		{StageBanner, 554, "5.3.2"}, {StageBanner, 550, "5.3.2"}, {StageBanner, 480, "4.0.0"},
		{StageRcpt, 550, "5.1.1"}, {StageRcpt, 552, "5.2.2"}, {StageRcpt, 553, "5.1.3"}, {StageRcpt, 554, "5.0.0"},
		{StageMail, 550, "5.7.1"}, {StageMail, 552, "5.3.4"}, {StageMail, 553, "5.1.7"}, {StageMail, 554, "5.0.0"},
		{StageContent, 550, "5.6.0"}, {StageContent, 552, "5.3.4"}, {StageContent, 554, "5.6.0"}, {StageContent, 553, "5.0.0"},
		{StageData, 550, "5.0.0"}, {StageData, 552, "5.3.4"}, {StageData, 554, "5.0.0"}, {StageData, 571, "5.0.0"},
		{StageData, 471, "4.0.0"}, {StageContent, 250, "2.0.0"}, {StageData, 354, "4.0.0"}, {StageMail, 199, "4.0.0"},
	} {
		from, to := c.stage, c.stage
		if c.stage == StageMessage {
			from, to = StageHello, StageContent
		}
		for stage := from; stage <= to; stage++ {
			if c.code == 452 && c.stage == StageMessage && stage == StageRcpt {
				continue
			}
			if got := statusFor(stage, c.code); got != c.want {
				t.Errorf("DSN-21 %d at stage %d: %s, want %s", c.code, stage, got, c.want)
			}
		}
	}
}

// TestLoginRefusedBy is which failures are about our login, so that no mail is offered
// until something about that changes.
func TestLoginRefusedBy(t *testing.T) {
	reply := func(stage Stage, code int, enhanced string) *Failure {
		return &Failure{Stage: stage, Code: code, Enhanced: enhanced, Lines: []string{"no"}}
	}
	_, unfit := new(session.Pool).PolicyFor(t.Context(), &mx.Route{}, &mx.Host{Login: &smarthost.Login{User: "u"}, TLS: mx.TLSMay})
	for _, c := range []struct {
		name string
		f    *Failure
		want bool
	}{
		{"a login that does not fit", &Failure{Stage: StageAuth, Err: unfit}, true},
		{"530 to MAIL", reply(StageMail, 530, "5.7.0"), true},
		{"534 to RCPT", reply(StageRcpt, 534, ""), true},
		{"535 to DATA", reply(StageData, 535, ""), true},
		{"538 to MAIL", reply(StageMail, 538, ""), true},
		{"550 with 5.7.8", reply(StageMail, 550, "5.7.8"), true},
		{"550 with 5.7.9", reply(StageMail, 550, "5.7.9"), true},
		{"550 with 5.7.10", reply(StageMail, 550, "5.7.10"), true},
		{"550 with 5.7.11", reply(StageMail, 550, "5.7.11"), true},
		{"550 with 5.7.1", reply(StageMail, 550, "5.7.1"), false},
		{"450 with a status of another class", reply(StageMail, 450, "5.7.8"), false},
		{"454 to MAIL", reply(StageMail, 454, "4.7.0"), false},
		{"500 to AUTH", reply(StageAuth, 500, "5.5.2"), true},
		{"454 to AUTH", reply(StageAuth, 454, "4.7.0"), false},
		{"a lost session in AUTH", &Failure{Stage: StageAuth, Err: &smtp.Error{Kind: smtp.Closed}}, false},
		{"a host that proves nothing", &Failure{Stage: StageAuth, Err: fmt.Errorf("in AUTH: %w", &smtp.Error{Kind: smtp.BadAuth})}, true},
		{"what we say in the host's place", &Failure{Stage: StageStartTLS, Code: 530, Enhanced: "5.7.10"}, false},
	} {
		t.Run("QUE-15 "+c.name, func(t *testing.T) {
			if got := c.f.LoginRefused(); got != c.want {
				t.Errorf("%t, want %t", got, c.want)
			}
		})
	}
}

// TestBlamesAddress is which failures speak against an address.
func TestBlamesAddress(t *testing.T) {
	said := []string{"no"}
	lost := &smtp.Error{Kind: smtp.Closed}
	for _, c := range []struct {
		name string
		f    Failure
		want bool
	}{
		{"nobody answers", Failure{Stage: StageConnect, Err: errors.New("refused")}, true},
		{"we have no descriptors", Failure{Stage: StageConnect, Err: syscall.EMFILE}, false},
		{"a greeting of 554", Failure{Stage: StageBanner, Lines: said}, true},
		{"no greeting", Failure{Stage: StageBanner, Err: lost}, true},
		{"EHLO refused", Failure{Stage: StageHello, Lines: said}, true},
		{"EHLO lost", Failure{Stage: StageHello, Err: lost}, true},
		{"our own name", Failure{Stage: StageHello, Err: session.ErrSelf}, false},
		{"STARTTLS refused", Failure{Stage: StageStartTLS, Lines: said}, false},
		{"AUTH lost", Failure{Stage: StageAuth, Err: lost}, false},
		{"MAIL refused", Failure{Stage: StageMail, Lines: said}, false},
	} {
		t.Run("MX-23 "+c.name, func(t *testing.T) {
			if got := c.f.blamesAddress(); got != c.want {
				t.Errorf("%t, want %t", got, c.want)
			}
		})
	}
}

// TestFlatReply is a failure in the form that a queue stores.
func TestFlatReply(t *testing.T) {
	addr := netip.MustParseAddrPort("192.0.2.1:25")
	for _, c := range []struct {
		f    Failure
		want queue.Reply
	}{
		{
			Failure{Host: "mx.e.test", Addr: addr, Code: 550, Enhanced: "5.1.1", Lines: []string{"no", "never"}, Err: errors.New("x")},
			queue.Reply{Host: "mx.e.test", Addr: "192.0.2.1:25", Code: 550, Enhanced: "5.1.1", Text: "no\nnever"},
		},
		{Failure{Enhanced: "4.4.1", Err: errors.New("refused")}, queue.Reply{Enhanced: "4.4.1", Text: "refused"}},
		{Failure{Enhanced: "4.4.1"}, queue.Reply{Enhanced: "4.4.1"}},
	} {
		if got := c.f.Reply(); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

// TestJudgeErrors is what a session that came to nothing means, by its error.
func TestJudgeErrors(t *testing.T) {
	h := &session.Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25")}
	cause := errors.New("cause")
	_, login := new(session.Pool).PolicyFor(t.Context(), &mx.Route{}, &mx.Host{Login: &smarthost.Login{User: "u"}, TLS: mx.TLSMay})
	in := func(stage smtp.Stage, kind smtp.Kind) *smtp.Error {
		return &smtp.Error{Stage: stage, Kind: kind, Err: cause}
	}
	for _, c := range []struct {
		name     string
		err      error
		stage    Stage
		verdict  Verdict
		enhanced string
	}{
		{"dialling", &session.Error{Step: session.Dialling, Err: cause}, StageConnect, NotNow, "4.4.1"},
		{"no name for EHLO", &session.Error{Step: session.Starting, Err: cause}, StageHello, NotNow, "4.3.5"},
		{"this host", session.ErrSelf, StageHello, HostRefuses, "5.4.6"},
		{"a login that does not fit", login, StageAuth, NotNow, "4.7.0"},
		{"no TLS", session.ErrNoTLS, StageStartTLS, NotNow, "4.7.4"},
		{"anything", cause, StageHello, NotNow, "4.4.2"},
		{"unfit", &smtp.Error{Stage: smtp.StageMail, Kind: smtp.Unfit, Enhanced: "5.6.3", Err: cause}, StageMail, HostRefuses, "5.6.3"},
		{"unfit for want of TLS", &smtp.Error{Stage: smtp.StageMail, Kind: smtp.Unfit, Enhanced: "4.7.4", Err: cause}, StageStartTLS, NotNow, "4.7.4"},
		{"broken TLS", in(smtp.StageHandshake, smtp.BadTLS), StageStartTLS, NotNow, "4.7.5"},
		{"octets ahead of TLS", in(smtp.StageStartTLS, smtp.Security), StageStartTLS, NotNow, "4.7.5"},
		{"AUTH that does not work", in(smtp.StageAuth, smtp.BadAuth), StageAuth, NotNow, "4.7.0"},
		{"content that cannot be read", in(smtp.StageData, smtp.Local), StageContent, NotNow, "4.3.0"},
		{"nonsense", in(smtp.StageRcpt, smtp.Protocol), StageRcpt, NotNow, "4.5.0"},
		{"what does not work", in(smtp.StageFinal, smtp.Incapable), StageContent, NotNow, "4.5.0"},
		{"a timeout", in(smtp.StageBanner, smtp.Timeout), StageBanner, NotNow, "4.4.2"},
		{"a loss at EHLO", in(smtp.StageHello, smtp.Closed), StageHello, NotNow, "4.4.2"},
		{"a loss at STARTTLS", in(smtp.StageStartTLS, smtp.Closed), StageStartTLS, NotNow, "4.4.2"},
		{"a loss at AUTH", in(smtp.StageAuth, smtp.Closed), StageAuth, NotNow, "4.4.2"},
		{"a loss at RSET", in(smtp.StageReset, smtp.Closed), StageMail, NotNow, "4.4.2"},
		{"a loss at DATA", in(smtp.StageData, smtp.Closed), StageData, NotNow, "4.4.2"},
		{"a loss in the content", in(smtp.StageContent, smtp.Closed), StageContent, NotNow, "4.4.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := new(Config).judge(h, c.err)
			if f.Stage != c.stage || f.Verdict != c.verdict || f.Enhanced != c.enhanced || f.Host != "mx.e.test" || f.Addr != h.Addr {
				t.Errorf("%+v, want stage %d, verdict %d, %s", f, c.stage, c.verdict, c.enhanced)
			}
		})
	}
}

// TestJudgeOfNobody: a verdict table of the application's own cannot turn a refusal
// into a delivery.
func TestJudgeOfNobody(t *testing.T) {
	h := &session.Hop{Host: &mx.Host{Name: "mx.e.test"}}
	for given, want := range map[Verdict]Verdict{
		NotNow: NotNow, HostRefuses: HostRefuses, Refused: Refused, MaybeTaken: NotNow, Taken: NotNow,
	} {
		c := &Config{Judge: func(Stage, int, string) Verdict { return given }}
		if f := c.replied(h, StageRcpt, &smtp.Reply{Code: 550}); f.Verdict != want || f.Enhanced != "5.1.1" {
			t.Errorf("the table says %d: %d with %s, want %d", given, f.Verdict, f.Enhanced, want)
		}
	}
}

// TestRoutingFailure is what it means that there is no route.
func TestRoutingFailure(t *testing.T) {
	wrong := errors.New("no such rule")
	for _, c := range []struct {
		name     string
		err      error
		verdict  Verdict
		code     int
		enhanced string
	}{
		{"anything", wrong, NotNow, 0, "4.4.3"},
		{"a mistake in the configuration", fmt.Errorf("table: %w", &session.ConfigError{Err: wrong}), NotNow, 0, "4.3.5"},
		{"DNS gives no answer", &mx.Error{Kind: mx.DNSTrouble, Enhanced: "4.4.3", Code: 451}, NotNow, 0, "4.4.3"},
		{"no such domain", fmt.Errorf("mx: %w", &mx.Error{Kind: mx.NoSuchDomain, Enhanced: "5.1.2", Code: 550}), Refused, 0, "5.1.2"},
		{"null MX", &mx.Error{Kind: mx.NullMX, Enhanced: "5.1.10", Code: 556}, Refused, 556, "5.1.10"},
	} {
		t.Run("MX-8 "+c.name, func(t *testing.T) {
			f := RoutingFailure(c.err)
			if f.Stage != StageDNS || f.Verdict != c.verdict || f.Code != c.code || f.Enhanced != c.enhanced || f.Err != c.err {
				t.Errorf("%+v, want verdict %d, %d %s", f, c.verdict, c.code, c.enhanced)
			}
		})
	}
}

// TestParameters is the parameters that a message's wishes make.
func TestParameters(t *testing.T) {
	for n, want := range map[queue.Notify]string{
		0: "", queue.NotifyNever: "NEVER", queue.NotifyNever | queue.NotifyDelay: "NEVER", queue.NotifySuccess: "SUCCESS",
		queue.NotifyFailure: "FAILURE", queue.NotifyDelay: "DELAY", queue.NotifySuccess | queue.NotifyDelay: "SUCCESS,DELAY",
		queue.NotifySuccess | queue.NotifyFailure | queue.NotifyDelay: "SUCCESS,FAILURE,DELAY",
	} {
		if got := notifyParam(n); got != want {
			t.Errorf("NOTIFY of %v is %q, want %q", n, got, want)
		}
	}
	for r, want := range map[queue.Return]string{queue.ReturnFull: "FULL", queue.ReturnHeaders: "HDRS", 0: ""} {
		if r == 0 && (r == queue.ReturnFull || r == queue.ReturnHeaders) {
			continue
		}
		if got := returnParam(r); got != want {
			t.Errorf("RET of %v is %q, want %q", r, got, want)
		}
	}
}

// TestBounds is how many connections and sessions a walk may have.
func TestBounds(t *testing.T) {
	for _, c := range []struct{ connections, sessions, wantConnections, wantSessions int }{
		{0, 0, 32, 5}, {-1, -1, 32, 5}, {1, 1, 2, 1}, {2, 2, 2, 2}, {3, 3, 3, 3}, {40, 9, 40, 9},
	} {
		config := &Config{MaxConnections: c.connections, MaxSessions: c.sessions}
		if got := config.maxConnections(); got != c.wantConnections {
			t.Errorf("MX-21 MaxConnections %d is %d, want %d", c.connections, got, c.wantConnections)
		}
		if got := config.maxSessions(); got != c.wantSessions {
			t.Errorf("MX-21 MaxSessions %d is %d, want %d", c.sessions, got, c.wantSessions)
		}
	}
}

// TestFindings is what the findings of a transaction mean for the next one.
func TestFindings(t *testing.T) {
	for _, c := range []struct {
		verdict Verdict
		stage   Stage
		status  string
		want    bool
	}{
		{Refused, StageContent, "5.6.0", true}, {Refused, StageContent, "5.3.4", true}, {Refused, StageContent, "5.1.1", false},
		{Refused, StageContent, "5.7.1", false}, {Refused, StageContent, "", false}, {Refused, StageRcpt, "5.6.0", false},
		{NotNow, StageContent, "5.6.0", false}, {HostRefuses, StageContent, "5.6.0", false},
	} {
		f := &finding{verdict: c.verdict, err: &Failure{Stage: c.stage}}
		if got := f.refusesContent(c.status); got != c.want {
			t.Errorf("SMTP-27 %s at stage %d with %s refuses the content: %t, want %t", verdictWords[c.verdict], c.stage, c.status, got, c.want)
		}
	}
	tried := func(v Verdict) finding { return finding{tried: true, verdict: v} }
	for _, c := range []struct {
		list              []finding
		progress, carried bool
	}{
		{nil, false, false},
		{[]finding{tried(NotNow), tried(HostRefuses)}, false, false},
		{[]finding{tried(NotNow), tried(Refused)}, true, false},
		{[]finding{tried(NotNow), tried(MaybeTaken)}, true, false},
		{[]finding{tried(NotNow), tried(Taken)}, true, true},
		{[]finding{{verdict: Refused}}, false, false},
	} {
		r := &result{findings: c.list}
		if r.progress() != c.progress || r.carried() != c.carried {
			t.Errorf("%+v: progress %t, carried %t; want %t, %t", c.list, r.progress(), r.carried(), c.progress, c.carried)
		}
	}
	for f, want := range map[finding]Next{
		{verdict: MaybeTaken, answered: true}: StopUnknown, {verdict: Taken, answered: true}: StopSettled, {verdict: Refused, answered: true}: StopSettled,
		{verdict: NotNow, answered: true}: NextHost, {verdict: HostRefuses, answered: true}: NextHost, {verdict: NotNow}: NextAddress,
	} {
		if got := f.next(); got != want {
			t.Errorf("%+v: %s, want %s", f, nextWords[got], nextWords[want])
		}
	}
}
