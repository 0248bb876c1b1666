package metrics_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/metrics"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

func written(t *testing.T, r *metrics.Recorder) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// delivered is an event of a message that was taken.
func delivered() delivery.Event {
	return delivery.Event{
		Kind: delivery.Delivered, Recipient: "u@e.test", Host: "mx.e.test", Via: mx.ViaMX, Attempt: 1, Code: 250, Duration: 700 * time.Millisecond,
		Stages: delivery.Stages{Connect: 200 * time.Millisecond, Mail: 500 * time.Millisecond}, Age: 90 * time.Second,
		TLS: delivery.Protection{Level: mx.TLSVerify, Source: "dane"},
	}
}

// TestRecord counts events, attempts and times.
func TestRecord(t *testing.T) {
	r := new(metrics.Recorder)
	r.Record(context.Background(), delivery.Event{Kind: delivery.Queued, Recipient: "u@e.test"})
	r.Record(context.Background(), delivered())
	r.Record(context.Background(), delivered())
	r.Record(context.Background(), delivery.Event{
		Kind: delivery.Failed, Recipient: "u@e.test", Host: "mx.e.test", Via: mx.ViaSmartHost, Code: 550,
		Err: &delivery.Error{Stage: delivery.StageRcpt}, Duration: 2 * time.Hour,
	})
	r.Record(context.Background(), delivery.Event{Kind: delivery.Deferred, Recipient: "u@e.test", Err: &delivery.Error{Stage: delivery.StageDNS}})
	r.Record(context.Background(), delivery.Event{Kind: delivery.LoginRefused, Destination: "e.test"})
	got := written(t, r)
	for _, want := range []string{
		`nexthop_events_total{event="queued"} 1`,
		`nexthop_events_total{event="delivered"} 2`,
		`nexthop_events_total{event="login-refused"} 1`,
		`nexthop_events_total{event="held"} 0`,
		`nexthop_attempts_total{outcome="delivered",route="mx",tls="dane"} 2`,
		`nexthop_attempts_total{outcome="failed",route="smarthost",tls="none"} 1`,
		`nexthop_attempts_total{outcome="deferred",route="none",tls="none"} 1`,
		`nexthop_failures_total{outcome="failed",stage="rcpt",class="5"} 1`,
		`nexthop_failures_total{outcome="deferred",stage="dns",class="none"} 1`,
		`nexthop_attempt_duration_seconds_bucket{outcome="delivered",le="0.5"} 0`,
		`nexthop_attempt_duration_seconds_bucket{outcome="delivered",le="1"} 2`,
		`nexthop_attempt_duration_seconds_bucket{outcome="delivered",le="+Inf"} 2`,
		`nexthop_attempt_duration_seconds_sum{outcome="delivered"} 1.4`,
		`nexthop_attempt_duration_seconds_bucket{outcome="failed",le="600"} 0`,
		`nexthop_attempt_duration_seconds_count{outcome="failed"} 1`,
		`nexthop_stage_duration_seconds_count{stage="connect"} 2`,
		`nexthop_stage_duration_seconds_count{stage="dns"} 0`,
		`nexthop_delivery_age_seconds_bucket{le="60"} 0`,
		`nexthop_delivery_age_seconds_bucket{le="300"} 2`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no line %s in\n%s", want, got)
		}
	}
}

// TestHostileMail records what strangers can choose: no series is added but those of the
// lists, and none has a word of theirs.
func TestHostileMail(t *testing.T) {
	r := &metrics.Recorder{}
	for i := range 20_000 {
		word := fmt.Sprintf("evil%d\"} 1\nnexthop_", i)
		r.Record(context.Background(), delivery.Event{
			Kind: delivery.EventKind(i % 256), ID: word, From: word, Recipient: word, Destination: word, Host: word, Attempt: i,
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 25), Via: mx.Via(i % 251),
			TLS: delivery.Protection{Level: mx.TLSLevel(i % 7), Source: word}, Code: i%2000 - 500, Enhanced: word, Reply: word,
			Duration: time.Duration(i-10_000) * time.Second, Age: math.MaxInt64, Tenant: word, Metadata: map[string]string{word: word},
			Err: &delivery.Error{Stage: delivery.Stage(i % 256), Host: word}, BounceID: word,
		})
	}
	got := written(t, r)
	if strings.Contains(got, "evil") {
		t.Errorf("a stranger's word is in\n%.2000s", got)
	}
	lines := strings.Count(got, "\n")
	if lines > 1_000 {
		t.Errorf("%d lines", lines)
	}
	sample := regexp.MustCompile(`^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="[a-zA-Z0-9.+-]+"(,[a-z]+="[a-zA-Z0-9.+-]+")*\})? [0-9.e+]+)$`)
	for l := range strings.Lines(got) {
		if !sample.MatchString(strings.TrimSuffix(l, "\n")) {
			t.Errorf("a line %q", l)
		}
	}
}

// TestAgentAndQueue asks an Agent and its queue for what they have to say.
func TestAgentAndQueue(t *testing.T) {
	q := &memory.Queue{}
	agent := &delivery.Agent{Queue: q}
	r := &metrics.Recorder{Agent: agent, Namespace: "mail", More: func(w *metrics.Writer) { w.Gauge("mail_own", "One's own.", 7) }}
	agent.Events = r.Record
	m := &queue.Message{From: "a@from.test", Recipients: []queue.Recipient{{Address: "u@e.test"}}, Content: queue.String("S: s\r\n\r\n")}
	if _, err := agent.Submit(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := written(t, r)
	for _, want := range []string{"mail_queue_messages 1", "mail_queue_deliveries 1", "mail_queue_bytes 8", "mail_sessions 0", "mail_trouble 0", "mail_own 7"} {
		if !strings.Contains(got, "\n"+want+"\n") {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
	if n := agent.Stats().Counts[delivery.Queued]; n != 1 {
		t.Errorf("the Agent has counted %d messages", n)
	}
	page := httptest.NewRecorder()
	r.ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if page.Code != 200 || page.Header().Get("Content-Type") != metrics.ContentType || !strings.Contains(page.Body.String(), "mail_own 7\n") {
		t.Errorf("%d %v", page.Code, page.Header())
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	page = httptest.NewRecorder()
	if r.ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil)); page.Code != 503 {
		t.Errorf("with a queue that is closed: %d", page.Code)
	}
	small := &metrics.Recorder{Queue: plain{q}}
	if err := small.Write(context.Background(), new(bytes.Buffer)); err != nil {
		t.Errorf("with a queue that cannot say: %v", err)
	}
}

// plain is a queue without abilities.
type plain struct{ queue.Queue }

// TestWriter is what the text format has, and what it cannot.
func TestWriter(t *testing.T) {
	var b bytes.Buffer
	w := metrics.NewWriter(&b)
	w.Counter("a_total", "Help with \\ and\na line.", 1<<40, metrics.Label{Name: "l", Value: "a\"b\\c\nd\xff"})
	w.Counter("a_total", "", 0.25, metrics.Label{Name: "l", Value: "é"}, metrics.Label{Name: "m", Value: ""})
	w.Histogram("h", "H.", []float64{0.1, 2}, []uint64{1, 2, 3}, 12.5)
	w.Gauge("g", "G.", -3)
	if err := w.Flush(); err != nil {
		t.Error(err)
	}
	const want = "# HELP a_total Help with \\\\ and\\na line.\n# TYPE a_total counter\n" +
		"a_total{l=\"a\\\"b\\\\c\\nd\ufffd\"} 1099511627776\na_total{l=\"é\",m=\"\"} 0.25\n" +
		"# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"2\"} 3\nh_bucket{le=\"+Inf\"} 6\nh_sum 12.5\nh_count 6\n" +
		"# HELP g G.\n# TYPE g gauge\ng -3\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	for name, bad := range map[string]func(w *metrics.Writer){
		"a counter without _total": func(w *metrics.Writer) { w.Counter("a", "", 1) },
		"a name with a hyphen":     func(w *metrics.Writer) { w.Gauge("a-b", "", 1) },
		"a name of digits":         func(w *metrics.Writer) { w.Gauge("1a", "", 1) },
		"no name":                  func(w *metrics.Writer) { w.Gauge("", "", 1) },
		"a label with a colon":     func(w *metrics.Writer) { w.Gauge("a", "", 1, metrics.Label{Name: "a:b"}) },
		"a label of Prometheus's":  func(w *metrics.Writer) { w.Gauge("a", "", 1, metrics.Label{Name: "__name__"}) },
		"one metric in two places": func(w *metrics.Writer) { w.Gauge("a", "", 1); w.Gauge("b", "", 1); w.Gauge("a", "", 1) },
		"too few counts":           func(w *metrics.Writer) { w.Histogram("a", "", []float64{1}, []uint64{1}, 1) },
	} {
		w := metrics.NewWriter(new(bytes.Buffer))
		if bad(w); w.Flush() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	broken := metrics.NewWriter(brokenWriter{})
	if broken.Gauge("a", "", 1); !errors.Is(broken.Flush(), errBroken) {
		t.Error("the error of the io.Writer is lost")
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// TestProgress counts what happened since a moment.
func TestProgress(t *testing.T) {
	var before, after delivery.Counts
	before[delivery.Delivered], after[delivery.Delivered] = 5, 9
	before[delivery.Queued], after[delivery.Queued] = 7, 17
	after[delivery.Failed], after[delivery.Expired], after[delivery.Deferred] = 1, 2, 30
	if since := after.Since(before); since[delivery.Queued] != 10 || since[delivery.Delivered] != 4 || since.Settled() != 7 || before[delivery.Queued] != 7 {
		t.Errorf("%v", since)
	}
}
