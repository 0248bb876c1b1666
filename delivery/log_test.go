package delivery_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// refused is an event with everything in it.
func refused() delivery.Event {
	e := &delivery.Error{
		Stage: delivery.StageRcpt, Host: "mx1.e.test", Addr: netip.MustParseAddrPort("192.0.2.1:25"), Code: 550, Enhanced: "5.1.1",
		Lines: []string{"5.1.1 <user@e.test> unknown"}, Verdict: delivery.Refused,
	}
	return delivery.Event{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600)), Kind: delivery.Failed, ID: "7", From: "a@from.test",
		Recipient: "user@e.test", Destination: "e.test", Attempt: 2, Host: e.Host, Addr: e.Addr, Via: mx.ViaSmartHost,
		TLS: delivery.Protection{Level: mx.TLSVerify, Source: "dane"}, Code: 550, Enhanced: "5.1.1", Reply: "5.1.1 <user@e.test> unknown",
		Tenant: "t", Metadata: map[string]string{"campaign": "spring", "other": "x"}, Err: e, BounceID: "8",
		Duration: 1500 * time.Millisecond, Stages: delivery.Stages{TLS: time.Second, Mail: 500 * time.Millisecond}, Age: time.Hour, Size: 1234,
		Next: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC),
	}
}

// TestLog is the line that each kind of event makes.
func TestLog(t *testing.T) {
	for _, c := range []struct {
		name    string
		event   delivery.Event
		options delivery.LogOptions
		want    string
	}{
		{"everything", refused(), delivery.LogOptions{Metadata: []string{"campaign", "none"}},
			`level=WARN msg="mail failed" event=failed id=7 from=a@from.test recipient=user@e.test attempt=2 host=mx1.e.test addr=192.0.2.1:25 ` +
				`route=smarthost tls=dane stage=rcpt code=550 enhanced=5.1.1 reply="5.1.1 <user@e.test> unknown" next=2026-01-02T00:00:00.000Z ` +
				`duration=1.5s age=1h0m0s size=1234 tenant=t bounce=8 metadata.campaign=spring`},
		{"a message that was queued, by default", delivery.Event{Kind: delivery.Queued, ID: "7", From: "a@from.test", Recipient: "u@e.test"}, delivery.LogOptions{}, ``},
		{"nothing that does not apply", delivery.Event{Kind: delivery.Queued, ID: "7", From: "a@from.test", Recipient: "u@e.test"},
			delivery.LogOptions{Level: func(delivery.Event) slog.Level { return slog.LevelInfo }}, `level=INFO msg="mail queued" event=queued id=7 from=a@from.test recipient=u@e.test`},
		{"the null reverse-path", delivery.Event{Kind: delivery.Deferred, ID: "7", Recipient: "u@e.test", Attempt: 1}, delivery.LogOptions{},
			`level=INFO msg="mail deferred" event=deferred id=7 from=<> recipient=u@e.test attempt=1`},
		{"a destination", delivery.Event{Kind: delivery.LoginRefused, Destination: "e.test", Host: "mx.e.test"}, delivery.LogOptions{},
			`level=ERROR msg="login refused" event=login-refused destination=e.test host=mx.e.test`},
		{"trouble", delivery.Event{Kind: delivery.Trouble, Err: &delivery.Error{Err: errors.New("disk")}, Reply: "disk"}, delivery.LogOptions{},
			`level=ERROR msg="mail trouble" event=trouble stage=message reply=disk`},
		{"a clock that jumped", delivery.Event{Kind: delivery.Trouble, Err: &delivery.Error{Err: &delivery.ClockJump{By: time.Hour}}}, delivery.LogOptions{},
			`level=WARN msg="mail trouble" event=trouble stage=message`},
		{"short local parts", refused(), delivery.LogOptions{ShortenLocal: true},
			`level=WARN msg="mail failed" event=failed id=7 from=a…@from.test recipient=u…@e.test attempt=2 host=mx1.e.test addr=192.0.2.1:25 ` +
				`route=smarthost tls=dane stage=rcpt code=550 enhanced=5.1.1 reply="5.1.1 <u…@e.test> unknown" next=2026-01-02T00:00:00.000Z ` +
				`duration=1.5s age=1h0m0s size=1234 tenant=t bounce=8`},
		{"a level of one's own", delivery.Event{Kind: delivery.Delivered}, delivery.LogOptions{Level: func(delivery.Event) slog.Level { return slog.LevelError }},
			`level=ERROR msg="mail delivered" event=delivered`},
		{"a level that is not wanted", delivery.Event{Kind: delivery.Delivered}, delivery.LogOptions{Level: func(delivery.Event) slog.Level { return slog.LevelDebug }}, ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := logged(c.event, c.options); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// logged is the line of an event without its time.
func logged(e delivery.Event, o delivery.LogOptions) string {
	var b bytes.Buffer
	h := slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return a
	}})
	delivery.Log(slog.New(h), o)(context.Background(), e)
	return strings.TrimSuffix(b.String(), "\n")
}

// TestLogHostileText writes texts of strangers: no control character and nothing that
// changes how a line looks is left, and no text is long.
func TestLogHostileText(t *testing.T) {
	for name, text := range map[string]string{
		"line ends":            "550 no\r\nlevel=INFO msg=forged",
		"a terminal's":         "\x1b[2J\x1b]0;owned\x07\x9b1m",
		"NUL":                  "a\x00b",
		"no UTF-8":             "a\xff\xfe\x80b",
		"directions of text":   "moc.elpmaxe\u202e@\u2066x\u200b",
		"other line ends":      "a\u2028b\u2029c\u0085d",
		"very long":            strings.Repeat("x", 100_000),
		"very long and hidden": strings.Repeat("\u202e", 100_000),
		"quotes and equals":    `x" level=ERROR msg="forged`,
	} {
		for _, shorten := range []bool{false, true} {
			var got slog.Record
			h := capture{&got}
			e := delivery.Event{
				Kind: delivery.Failed, ID: "7", From: text + "@e.test", Recipient: text, Host: text, Reply: text, Tenant: text,
				Metadata: map[string]string{"m": text}, Enhanced: text, Destination: text, Attempt: 1,
			}
			delivery.Log(slog.New(h), delivery.LogOptions{ShortenLocal: shorten, Metadata: []string{"m"}})(context.Background(), e)
			got.Attrs(func(a slog.Attr) bool { checkSafe(t, name, a); return true })
			for _, v := range []slog.LogValuer{e, &delivery.Error{Host: text, Lines: []string{text}, Recipient: text, Enhanced: text}} {
				checkSafe(t, name, slog.Attr{Key: "value", Value: v.LogValue()})
			}
			line := logged(e, delivery.LogOptions{})
			if strings.ContainsAny(line, "\n\r\x00\x1b") || len(line) > 5_000 {
				t.Errorf("%s: %.200q", name, line)
			}
		}
	}
}

func checkSafe(t *testing.T, name string, a slog.Attr) {
	t.Helper()
	if a.Value.Kind() == slog.KindGroup {
		for _, b := range a.Value.Group() {
			checkSafe(t, name, b)
		}
		return
	}
	text := a.Value.String()
	if len(text) > 320 || strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || strings.ContainsRune("\u202e\u2066\u200b\u2028\u2029\ufffd", r)
	}) {
		t.Errorf("%s: %s is %.100q, %d octets", name, a.Key, text, len(text))
	}
}

// capture is a handler that keeps the last record.
type capture struct{ last *slog.Record }

// TestShortenedReplies hides local parts wherever a host repeats them.
func TestShortenedReplies(t *testing.T) {
	for reply, want := range map[string]string{
		"<user@e.test>: Recipient address rejected": "<u…@e.test>: Recipient address rejected",
		"no mailbox USER here":                      "no mailbox u… here",
		"user=user@e.test,other.one@f.test":         "u…@e.test,o…@f.test",
		`"user name"@e.test is full`:                "u…@e.test is full",
		"try again later":                           "try again later",
	} {
		e := delivery.Event{Kind: delivery.Failed, Recipient: "user@e.test", Reply: reply}
		got := logged(e, delivery.LogOptions{ShortenLocal: true})
		_, got, _ = strings.Cut(got, "reply=")
		if got = strings.Trim(got, `"`); got != want {
			t.Errorf("%q is %q, want %q", reply, got, want)
		}
	}
}

// TestJSON is the documented form of each type.
func TestJSON(t *testing.T) {
	e := refused()
	attempt := delivery.Attempt{
		Host: e.Host, Addr: e.Addr, TLS: e.TLS, Verdict: delivery.Refused, Err: e.Err, Next: delivery.StopSettled, Began: e.Time,
		Duration: e.Duration, Stages: e.Stages, Without: "SIZE",
	}
	report := &delivery.Report{Recipients: []delivery.RecipientReport{
		{Address: "user@e.test", Outcome: queue.Unknown, Via: mx.ViaFallback, Reply: queue.Reply{Enhanced: "4.4.2"}, Attempts: []delivery.Attempt{attempt}},
	}}
	const attemptJSON = `{"host":"mx1.e.test","addr":"192.0.2.1:25","stage":"rcpt","code":550,"enhanced":"5.1.1",` +
		`"error":"550 5.1.1 <user@e.test> unknown","permanent":true,"tls":"dane","verdict":"refused","next":"settled",` +
		`"began":"2026-01-02T02:04:05.000006Z","duration":1.5,"stages":{"tls":1,"mail":0.5},"without":"SIZE"}`
	for _, c := range []struct {
		name  string
		value any
		want  string
	}{
		{"Event", e, `{"time":"2026-01-02T02:04:05.000006Z","event":"failed","id":"7","from":"a@from.test","recipient":"user@e.test",` +
			`"attempt":2,"host":"mx1.e.test","addr":"192.0.2.1:25","code":550,"enhanced":"5.1.1","reply":"5.1.1 <user@e.test> unknown",` +
			`"tls":"dane","next":"2026-01-02T00:00:00Z","tenant":"t","route":"smarthost","stage":"rcpt","duration":1.5,` +
			`"stages":{"tls":1,"mail":0.5},"age":3600,"size":1234,"bounce":"8","metadata":{"campaign":"spring","other":"x"}}`},
		{"Event of a destination", delivery.Event{Kind: delivery.Suspended, Destination: "e.test"}, `{"time":"","event":"suspended","id":"","from":"",` +
			`"recipient":"","attempt":0,"host":"","addr":"","code":0,"enhanced":"","reply":"","tls":"","destination":"e.test"}`},
		{"Error", e.Err, `{"stage":"rcpt","host":"mx1.e.test","addr":"192.0.2.1:25","recipient":"","code":550,"enhanced":"5.1.1",` +
			`"error":"550 5.1.1 <user@e.test> unknown","verdict":"refused","temporary":false}`},
		{"Attempt", attempt, attemptJSON},
		{"Attempt that was taken", delivery.Attempt{Verdict: delivery.Taken, Next: delivery.StopSettled, Reused: true}, `{"host":"","addr":"","stage":"content",` +
			`"code":0,"enhanced":"","error":"","permanent":false,"tls":"none","verdict":"taken","next":"settled","duration":0,"reused":true}`},
		{"Report", report, `{"recipients":[{"recipient":"user@e.test","status":"deferred","unknown":true,"route":"fallback","host":"","addr":"",` +
			`"code":0,"enhanced":"4.4.2","reply":"","tls":"none","attempts":[` + attemptJSON + `]}]}`},
		{"Explanation", &delivery.Explanation{
			Domain: "e.test", Route: mx.Route{
				Via:     mx.ViaMX,
				Hosts:   []mx.Host{{Name: "mx1.e.test", Preference: 10, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}},
				LeftOut: []mx.LeftOut{{Host: mx.Host{Name: "mx2.e.test", Preference: 20}, Reason: mx.HasNoAddress}},
			},
			Policies: []delivery.PolicyAnswer{{Policy: delivery.TLSPolicy{Level: mx.TLSVerify, Source: "dane", ServerName: "mx1.e.test"}}},
		}, `{"domain":"e.test","route":"mx","secure":false,"hosts":[{"name":"mx1.e.test","target":"","preference":10,"addrs":["192.0.2.1"],` +
			`"tls":"verify","source":"dane","server_name":"mx1.e.test"}],"left_out":[{"name":"mx2.e.test","preference":20,"reason":"no-address"}]}`},
	} {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(c.value); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSuffix(b.String(), "\n"); got != strings.ReplaceAll(c.want, `"target":"",`, "") {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// TestLogValues is what a logger makes of the types.
func TestLogValues(t *testing.T) {
	e := refused()
	report := &delivery.Report{Recipients: []delivery.RecipientReport{
		{Outcome: queue.Delivered}, {Outcome: queue.Failed, Err: e.Err}, {Outcome: queue.Delivered},
	}}
	for _, c := range []struct {
		value any
		want  string
	}{
		{e.Err, `v.stage=rcpt v.host=mx1.e.test v.addr=192.0.2.1:25 v.code=550 v.enhanced=5.1.1 v.reply="5.1.1 <user@e.test> unknown" v.verdict=refused`},
		{delivery.Attempt{Host: "h", Verdict: delivery.Taken, Duration: time.Second}, `v.host=h v.tls=none v.verdict=taken v.next=next-address v.duration=1s`},
		{report, `v.delivered=2 v.failed=1 v.error.stage=rcpt v.error.host=mx1.e.test v.error.addr=192.0.2.1:25 v.error.code=550 ` +
			`v.error.enhanced=5.1.1 v.error.reply="5.1.1 <user@e.test> unknown" v.error.verdict=refused`},
		{&delivery.Explanation{Domain: "e.test", Route: mx.Route{Via: mx.ViaMX, Hosts: []mx.Host{{Name: "a"}, {Name: "b"}}}}, `v.destination=e.test v.route=mx v.hosts="a b"`},
	} {
		var b bytes.Buffer
		slog.New(slog.NewTextHandler(&b, nil)).Info("m", "v", c.value)
		_, got, _ := strings.Cut(strings.TrimSuffix(b.String(), "\n"), "msg=m ")
		if got != c.want {
			t.Errorf("%T:\n%s\nwant\n%s", c.value, got, c.want)
		}
	}
}

func (c capture) Enabled(context.Context, slog.Level) bool { return true }
func (c capture) Handle(_ context.Context, r slog.Record) error {
	*c.last = r
	return nil
}
func (c capture) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c capture) WithGroup(string) slog.Handler      { return c }
