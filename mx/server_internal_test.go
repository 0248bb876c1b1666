package mx

import (
	"fmt"
	"testing"
	"time"
)

// TestHabitsAreBounded: no number of servers makes a Client remember more than 64.
func TestHabitsAreBounded(t *testing.T) {
	var h habits
	now := time.Now()
	for i := range 1000 {
		addr := fmt.Sprintf("192.0.2.1:%d", i)
		h.note(addr, false, now)
		h.leaveOut(addr, TCP, now.Add(time.Hour))
		h.doubt(addr, true)
		if out, doubted := h.leftOut(addr, now); !out[TCP] || !doubted {
			t.Fatalf("server %d: what was just learnt is not known", i)
		}
		if len(h.known) > mostServersKnown {
			t.Fatalf("%d servers are remembered", len(h.known))
		}
	}
}
