package bench

import (
	"bufio"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/metrics"
)

// BenchmarkObserved is what it costs to count events and to log them, beside an agent that
// does neither. Compare the CPU-ns/msg.
func BenchmarkObserved(b *testing.B) {
	addr := otherProcess(b)
	b.Run("plain", func(b *testing.B) { agentSource(b, addr, 100, nil) })
	b.Run("metrics", func(b *testing.B) { agentSource(b, addr, 100, new(metrics.Recorder).Record) })
	b.Run("metrics+log", func(b *testing.B) {
		file, err := os.Create(filepath.Join(b.TempDir(), "log"))
		if err != nil {
			b.Fatal(err)
		}
		defer file.Close()
		buffered := bufio.NewWriter(file)
		defer buffered.Flush()
		log := delivery.Log(slog.New(slog.NewJSONHandler(io.Writer(buffered), nil)), delivery.LogOptions{})
		agentSource(b, addr, 100, delivery.Hooks(new(metrics.Recorder).Record, log))
	})
}

// BenchmarkHooks is one event of a delivery, counted and logged.
func BenchmarkHooks(b *testing.B) {
	e := delivery.Event{
		Kind: delivery.Delivered, ID: "01J0000000000", From: "a@from.test", Recipient: "u@e.test", Destination: "e.test", Attempt: 1,
		Host: "mx.e.test", Code: 250, Enhanced: "2.0.0", Reply: "2.0.0 queued as 1234567890", Duration: 3e6, Age: 5e6,
		Stages: delivery.Stages{Mail: 2e6, Reply: 1e6},
	}
	b.Run("metrics", func(b *testing.B) {
		r := new(metrics.Recorder)
		for b.Loop() {
			r.Record(b.Context(), e)
		}
	})
	b.Run("log", func(b *testing.B) {
		log := delivery.Log(slog.New(slog.NewJSONHandler(io.Discard, nil)), delivery.LogOptions{})
		b.ReportAllocs()
		for b.Loop() {
			log(b.Context(), e)
		}
	})
}
