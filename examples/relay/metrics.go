package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"

	"github.com/nexthop-mail/nexthop/delivery/metrics"
	"github.com/nexthop-mail/nexthop/queue"
)

// pages returns the pages of -http.
func (p *parts) pages() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", p.numbers)
	mux.HandleFunc("GET /healthz", p.health)
	mux.HandleFunc("GET /readyz", p.ready)
	mux.HandleFunc("GET /{$}", p.dashboard)
	if p.options.actions != showOnly {
		mux.Handle("POST /act", p.acting())
	}
	return mux
}

// health is whether the relay is alive. One whose own queue does not answer is not; a
// database that does not answer would not do so for another relay either.
func (p *parts) health(w http.ResponseWriter, r *http.Request) {
	if p.database() == nil {
		p.ready(w, r)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// ready is whether the relay takes mail: whether its queue answers, and it does not end.
func (p *parts) ready(w http.ResponseWriter, r *http.Request) {
	err := p.answers(r.Context())
	if p.ending.Load() {
		err = errors.New("the relay is about to end")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// answers asks the queue for what costs little, however much there is in it.
func (p *parts) answers(ctx context.Context) error {
	_, err := queue.List(ctx, p.queue, queue.ListOptions{Max: 1})
	return err
}

// more writes the relay's own metrics, in addition to those of its agent.
func (p *parts) more(w *metrics.Writer) {
	open, begun, refused := p.server.Stats()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	w.Gauge("nexthop_relay_sessions", "SMTP sessions of clients.", float64(open))
	w.Counter("nexthop_relay_transactions_total", "Mail transactions that clients began.", float64(begun))
	w.Counter("nexthop_relay_connections_refused_total", "Connections refused for want of room.", float64(refused))
	w.Gauge("nexthop_relay_goroutines", "Goroutines.", float64(runtime.NumGoroutine()))
	w.Gauge("nexthop_relay_memory_bytes", "Memory obtained from the system.", float64(memory.Sys))
	if d := p.database(); d != nil {
		databaseMetrics(w, d.Queue)
	}
}
