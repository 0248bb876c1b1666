package queue_test

import (
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
)

// TestNotifyText is the text of sets of occasions, which reads back what NOTIFY of RCPT has,
// too.
func TestNotifyText(t *testing.T) {
	for n := range queue.Notify(16) {
		text, err := n.MarshalText()
		got := queue.Notify(99)
		if back := got.UnmarshalText(text); err != nil || back != nil || got != n || string(text) != n.String() {
			t.Errorf("%d is %q, %v, read as %d, %v", uint8(n), text, err, uint8(got), back)
		}
	}
	for text, want := range map[string]queue.Notify{
		"":                queue.Notify(0),
		"never":           queue.NotifyNever,
		"FAILURE,DELAY":   queue.NotifyFailure | queue.NotifyDelay,
		"delay,Success":   queue.NotifyDelay | queue.NotifySuccess,
		"failure,failure": queue.NotifyFailure,
	} {
		var got queue.Notify
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q is %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"always", "failure,", ",", "failure, delay", "1"} {
		got := queue.NotifyDelay
		if err := got.UnmarshalText([]byte(text)); err == nil || got != queue.NotifyDelay {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	if text, err := queue.Notify(16).MarshalText(); err == nil || queue.Notify(17).String() != "never,queue.Notify(16)" {
		t.Errorf("an occasion there is not: %q, %q", text, queue.Notify(17))
	}
}
