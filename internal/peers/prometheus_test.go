//go:build linux

package peers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/metrics"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// recorded are metrics of an Agent with a message in its queue, and of events of every kind.
func recorded(t *testing.T) *metrics.Recorder {
	t.Helper()
	agent := &delivery.Agent{Queue: &memory.Queue{}}
	r := &metrics.Recorder{Agent: agent, More: func(w *metrics.Writer) {
		w.Counter("own_things_total", "Things with \"quotes\" and a \\.", 3, metrics.Label{Name: "kind", Value: "a \"b\" \\ \n é"})
	}}
	agent.Events = r.Record
	for k := range (delivery.Counts{}) {
		r.Record(context.Background(), delivery.Event{
			Kind: delivery.EventKind(k), Recipient: "u@e.test", Host: "mx.e.test", Addr: netip.MustParseAddrPort("192.0.2.1:25"), Via: mx.ViaSmartHost,
			TLS: delivery.Protection{Level: mx.TLSVerify, Source: "mta-sts"}, Code: 450, Err: &delivery.Error{Stage: delivery.StageRcpt},
			Duration: 2 * time.Second, Stages: delivery.Stages{DNS: time.Second, Connect: 1, Hello: 1, TLS: 1, Mail: 1, Content: 1, Reply: 1}, Age: time.Hour,
		})
	}
	m := &queue.Message{From: "a@from.test", Recipients: []queue.Recipient{{Address: "u@e.test"}}, Content: queue.String("S: s\r\n\r\n")}
	if _, err := agent.Submit(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPromtool has Prometheus's own tool look for what it finds wrong with names, types and
// texts.
func TestPromtool(t *testing.T) {
	var text bytes.Buffer
	if err := recorded(t).Write(t.Context(), &text); err != nil {
		t.Fatal(err)
	}
	check, err := peers.Tool("prometheus", "usr/bin/promtool", "check", "metrics")
	if err != nil {
		t.Fatal(err)
	}
	check.Stdin = &text
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	check, err = peers.Tool("prometheus", "usr/bin/promtool", "check", "metrics")
	if err != nil {
		t.Fatal(err)
	}
	check.Stdin = bytes.NewBufferString("# TYPE a_count counter\na_count 1\n")
	if out, err := check.CombinedOutput(); err == nil {
		t.Errorf("it finds nothing wrong with a counter of a bad name: %s", out)
	}
}

// TestPrometheusScrapes has a Prometheus read the metrics over HTTP and answer questions
// about them.
func TestPrometheusScrapes(t *testing.T) {
	pages := httptest.NewServer(recorded(t))
	defer pages.Close()
	dir := t.TempDir()
	config := "global: {scrape_interval: 1s}\nscrape_configs: [{job_name: nexthop, metrics_path: /, static_configs: [{targets: ['" +
		pages.Listener.Addr().String() + "']}]}]\n"
	if err := os.WriteFile(filepath.Join(dir, "config.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	server, err := peers.Tool("prometheus", "usr/bin/prometheus", "--config.file="+filepath.Join(dir, "config.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if t.Failed() {
			t.Logf("Prometheus says\n%s", log.String())
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for question, want := range map[string]string{
		`up{job="nexthop"}`:                       "1",
		`nexthop_events_total{event="delivered"}`: "1",
		`nexthop_attempts_total{outcome="failed",route="smarthost",tls="mta-sts"}`:                "1",
		`nexthop_failures_total{outcome="deferred",stage="rcpt",class="4"}`:                       "1",
		`histogram_quantile(1, nexthop_attempt_duration_seconds_bucket{outcome="delivered"}) > 1`: "5",
		`nexthop_delivery_age_seconds_sum`:                                                        "3600",
		`nexthop_queue_messages`:                                                                  "1",
		`own_things_total{kind="a \"b\" \\ \n é"}`:                                                "3",
	} {
		if got := answer(ctx, addr, question, want); got != want {
			t.Errorf("%s is %q, want %s", question, got, want)
		}
	}
}

// answer asks a Prometheus until it says what is wanted, or the time is over.
func answer(ctx context.Context, addr, question, want string) (got string) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var reply struct {
			Data struct {
				Result []struct{ Value [2]any }
			}
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/api/v1/query?query="+url.QueryEscape(question), nil)
		if err != nil {
			return err.Error()
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			err = json.NewDecoder(res.Body).Decode(&reply)
			_ = res.Body.Close()
			if r := reply.Data.Result; err == nil && len(r) == 1 {
				got, _ = r[0].Value[1].(string)
			}
		}
		if got == want {
			return got
		}
		select {
		case <-ctx.Done():
			return got
		case <-tick.C:
		}
	}
}
