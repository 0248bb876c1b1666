package metrics

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// Recorder counts and measures the events of an Agent. The zero value is ready to
// record. Set the fields before the first use. It is safe for concurrent use.
type Recorder struct {
	// Agent supplies gauges about its current work. If nil, these are left out.
	Agent *delivery.Agent

	// Queue supplies gauges about its contents. Default: the Agent's queue. They are
	// left out if the queue cannot count.
	Queue queue.Queue

	// Namespace is the prefix of all names. Default: "nexthop".
	Namespace string

	// More writes further metrics, after those of the Recorder. It may be nil.
	More func(*Writer)

	mu       sync.Mutex
	events   delivery.Counts
	attempts [outcomes][routes][protections]uint64
	failures [outcomes][stages][classes]uint64
	duration [outcomes]histogram
	stage    [stageTimes]histogram
	age      histogram
}

// The lists of label values.
const (
	outcomes    = 5
	routes      = int(mx.ViaFallback) + 1
	protections = 6
	stages      = int(delivery.StageContent) + 1
	classes     = 5
	stageTimes  = 7
)

var (
	outcomeKinds    = [outcomes]delivery.EventKind{delivery.Delivered, delivery.Deferred, delivery.UnknownOutcome, delivery.Failed, delivery.Expired}
	protectionNames = [protections]string{"none", "encrypted", "verified", "dane", "mta-sts", "other"}
	classNames      = [classes]string{"none", "2", "3", "4", "5"}
	stageTimeNames  = [stageTimes]string{"dns", "connect", "hello", "tls", "mail", "content", "reply"}

	// Bounds of times, in seconds: of a dialogue, and of how long mail waits.
	dialogueBounds = [...]float64{0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600}
	ageBounds      = [...]float64{0.1, 1, 10, 60, 300, 900, 3600, 14400, 43200, 86400, 172800, 432000}
)

// bounds is how many bounds a histogram has.
const bounds = len(dialogueBounds)

// histogram counts times.
type histogram struct {
	counts [bounds + 1]uint64
	sum    float64
}

func (h *histogram) add(of []float64, d time.Duration) {
	s, i := max(d, 0).Seconds(), 0
	for i < bounds && s > of[i] {
		i++
	}
	h.counts[i]++
	h.sum += s
}

// Record records an event. It is an Events hook.
func (r *Recorder) Record(_ context.Context, e delivery.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if int(e.Kind) < len(r.events) {
		r.events[e.Kind]++
	}
	o := -1
	for i, k := range outcomeKinds {
		if k == e.Kind {
			o = i
		}
	}
	if o < 0 || e.Recipient == "" {
		return
	}
	r.attempts[o][routeOf(&e)][protectionOf(&e)]++
	if e.Kind == delivery.Delivered {
		r.age.add(ageBounds[:], e.Age)
	} else {
		stage := delivery.StageMessage
		if e.Err != nil && int(e.Err.Stage) < stages {
			stage = e.Err.Stage
		}
		r.failures[o][stage][classOf(e.Code)]++
	}
	r.duration[o].add(dialogueBounds[:], e.Duration)
	s := &e.Stages
	for i, d := range [stageTimes]time.Duration{s.DNS, s.Connect, s.Hello, s.TLS, s.Mail, s.Content, s.Reply} {
		if d > 0 {
			r.stage[i].add(dialogueBounds[:], d)
		}
	}
}

// routeOf is the route of an event; ViaNone if no host decided.
func routeOf(e *delivery.Event) int {
	if e.Host == "" || int(e.Via) >= routes {
		return int(mx.ViaNone)
	}
	return int(e.Via)
}

func routeName(i int) string { return mx.Via(i).String() }

func protectionOf(e *delivery.Event) int {
	name := e.TLS.String()
	for i, known := range protectionNames {
		if name == known {
			return i
		}
	}
	return protections - 1
}

func classOf(code int) int {
	if class := code / 100; class >= 2 && class <= 5 {
		return class - 1
	}
	return 0
}

// Write writes all numbers. The error is from w or from the queue.
func (r *Recorder) Write(ctx context.Context, w io.Writer) error {
	out := NewWriter(w)
	err := r.writeAll(ctx, out)
	if r.More != nil {
		r.More(out)
	}
	return errors.Join(out.Flush(), err)
}

// ServeHTTP responds with all numbers, or with 503 if the queue returns an error.
func (r *Recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var b bytes.Buffer
	if err := r.Write(req.Context(), &b); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", ContentType)
	_, _ = b.WriteTo(w) // a client that has gone needs no answer
}

func (r *Recorder) writeAll(ctx context.Context, w *Writer) error {
	ns := r.Namespace
	if ns == "" {
		ns = "nexthop"
	}
	r.writeEvents(w, ns)
	q := r.Queue
	if r.Agent != nil {
		writeStats(w, ns, r.Agent.Stats())
		if q == nil {
			q = r.Agent.Queue
		}
	}
	if q == nil {
		return nil
	}
	total, err := queue.Total(ctx, q)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	w.Gauge(ns+"_queue_messages", "Messages in the queue.", float64(total.Messages))
	w.Gauge(ns+"_queue_deliveries", "Pairs of a message and a destination in the queue.", float64(total.Deliveries))
	w.Gauge(ns+"_queue_bytes", "Size of the contents in the queue.", float64(total.Bytes))
	return nil
}

func writeStats(w *Writer, ns string, s delivery.Stats) {
	trouble := 0
	if s.Trouble != nil {
		trouble = 1
	}
	for _, g := range []struct {
		name, help string
		value      int
	}{
		{"deliveries_in_flight", "Attempts under way.", s.Deliveries},
		{"deliveries_claimed", "Deliveries taken from the queue and not settled yet.", s.Claimed},
		{"sites", "Sites that are known.", s.Sites},
		{"sites_backed_off", "Sites whose hosts are down.", s.BackedOff},
		{"sites_login_refused", "Sites that refuse the login.", s.LoginRefused},
		{"sessions", "SMTP sessions to next hops.", s.Sessions},
		{"events_waiting", "Events that wait for the hook.", s.Events},
		{"trouble", "Whether the queue fails.", trouble},
	} {
		w.Gauge(ns+"_"+g.name, g.help, float64(g.value))
	}
}

// writeEvents writes what was recorded.
func (r *Recorder) writeEvents(w *Writer, ns string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, n := range r.events {
		w.Counter(ns+"_events_total", "Events by kind.", float64(n), Label{"event", delivery.EventKind(k).String()})
	}
	for o, of := range r.attempts {
		for route, of := range of {
			for tls, n := range of {
				if n > 0 {
					w.Counter(ns+"_attempts_total", "Attempts by their outcome for a recipient.", float64(n), outcome(o),
						Label{"route", routeName(route)}, Label{"tls", protectionNames[tls]})
				}
			}
		}
	}
	for o, of := range r.failures {
		for stage, of := range of {
			for class, n := range of {
				if n > 0 {
					w.Counter(ns+"_failures_total", "Attempts that did not deliver, by stage and first digit of the reply code.", float64(n),
						outcome(o), Label{"stage", delivery.Stage(stage).String()}, Label{"class", classNames[class]})
				}
			}
		}
	}
	for o := range r.duration {
		r.duration[o].write(w, ns+"_attempt_duration_seconds", "How long attempts took.", dialogueBounds[:], outcome(o))
	}
	for i := range r.stage {
		r.stage[i].write(w, ns+"_stage_duration_seconds", "How long the stages of attempts took.", dialogueBounds[:], Label{"stage", stageTimeNames[i]})
	}
	r.age.write(w, ns+"_delivery_age_seconds", "How long delivered mail had been in the queue.", ageBounds[:])
}

func outcome(i int) Label { return Label{"outcome", outcomeKinds[i].String()} }

func (h *histogram) write(w *Writer, name, help string, of []float64, labels ...Label) {
	w.Histogram(name, help, of, h.counts[:], h.sum, labels...)
}
