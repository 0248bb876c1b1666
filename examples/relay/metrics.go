package main

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
)

// kinds is how many kinds of event there are.
const kinds = int(delivery.Trouble) + 1

// counts are events since the start, by kind.
type counts [kinds]atomic.Uint64

func (c *counts) add(k delivery.EventKind) {
	if int(k) < kinds {
		c[k].Add(1)
	}
}

// pages are those of -http.
func (p *parts) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", p.metrics)
	mux.HandleFunc("GET /healthz", p.health)
	mux.HandleFunc("GET /{$}", p.dashboard)
	if p.options.actions != showOnly {
		mux.Handle("POST /act", p.acting())
	}
	return mux
}

// health is whether the queue answers.
func (p *parts) health(w http.ResponseWriter, r *http.Request) {
	if _, err := queue.Totals(r.Context(), p.queue); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// metrics is Prometheus's text format.
func (p *parts) metrics(w http.ResponseWriter, r *http.Request) {
	total, err := queue.Totals(r.Context(), p.queue)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprint(w, "# HELP relay_events_total Events since the start, by kind.\n# TYPE relay_events_total counter\n")
	for k := range p.counts {
		fmt.Fprintf(w, "relay_events_total{event=%q} %d\n", delivery.EventKind(k), p.counts[k].Load())
	}
	stats := p.agent.Stats()
	open, begun, refused := p.server.Stats()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	for _, m := range []struct {
		name, kind, help string
		value            float64
	}{
		{"relay_queue_messages", "gauge", "Messages in the queue.", float64(total.Messages)},
		{"relay_queue_deliveries", "gauge", "Pairs of a message and a destination in the queue.", float64(total.Deliveries)},
		{"relay_queue_bytes", "gauge", "Size of the contents in the queue.", float64(total.Bytes)},
		{"relay_deliveries_under_way", "gauge", "Deliveries under way.", float64(stats.Deliveries)},
		{"relay_sessions_out", "gauge", "SMTP sessions to next hops.", float64(stats.Sessions)},
		{"relay_sessions_in", "gauge", "SMTP sessions of clients.", float64(open)},
		{"relay_transactions_total", "counter", "Mail transactions that clients began.", float64(begun)},
		{"relay_connections_refused_total", "counter", "Connections refused for want of room.", float64(refused)},
		{"relay_goroutines", "gauge", "Goroutines.", float64(runtime.NumGoroutine())},
		{"relay_memory_bytes", "gauge", "Memory obtained from the system.", float64(memory.Sys)},
	} {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s %g\n", m.name, m.help, m.name, m.kind, m.name, m.value)
	}
}
