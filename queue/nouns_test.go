package queue_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
)

// TestZeroValues: what nobody said is what does least harm.
func TestZeroValues(t *testing.T) {
	var (
		m queue.Message
		r queue.Recipient
		o queue.Outcome
	)
	if m.Guarantee != queue.AtLeastOnce || m.TLS != queue.TLSByPolicy || m.Return != queue.ReturnUnspecified {
		t.Errorf("guarantee %d, TLS %d, return %d", m.Guarantee, m.TLS, m.Return)
	}
	if r.Notify&(queue.NotifyNever|queue.NotifySuccess|queue.NotifyFailure|queue.NotifyDelay) != 0 {
		t.Errorf("notify %d", r.Notify)
	}
	if o != queue.Deferred {
		t.Errorf("outcome %s", o)
	}
	m.Recipients, m.Content = []queue.Recipient{{Address: "u@e.test"}}, queue.String("")
	if err := m.Validate(); err != nil {
		t.Errorf("a message with a recipient and content only: %v", err)
	}
}

func TestOutcomeNames(t *testing.T) {
	names := map[queue.Outcome]string{
		queue.Deferred: "deferred", queue.Delivered: "delivered", queue.Failed: "failed", queue.Unknown: "unknown",
		99: "queue.Outcome(99)",
	}
	for o, want := range names {
		if o.String() != want {
			t.Errorf("Outcome(%d) is %q, want %q", o, o, want)
		}
	}
}

// A message needs recipients and content; the zero value of everything else is
// ordinary mail.
func ExampleMessage() {
	m := &queue.Message{
		From: "news@example.com",
		Recipients: []queue.Recipient{
			{Address: "ann@example.net"},
			{Address: "bob@example.org", Notify: queue.NotifyFailure | queue.NotifyDelay},
		},
		Content: queue.String("From: news@example.com\nSubject: hello\n\nHello.\n"),
	}
	fmt.Println(m.Validate())
	// Output: <nil>
}

// Content that has to be read is opened for each attempt, so that a large file
// is never in memory as a whole.
func ExampleFile() {
	dir, err := os.MkdirTemp("", "nexthop")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "message.eml")
	if err := os.WriteFile(path, []byte("Subject: hello\r\n\r\nHello.\r\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	content := queue.File(path)
	fmt.Println(content.Size(), queue.BytesOf(content) == nil)
	// Output: 26 true
}

// What is in memory already is sent from there.
func ExampleBytesOf() {
	fmt.Printf("%s\n", queue.BytesOf(queue.Bytes("Hello.")))
	fmt.Println(queue.BytesOf(queue.String("Hello.")) == nil)
	// Output:
	// Hello.
	// true
}

func ExampleOutcome() {
	var undecided queue.Outcome
	fmt.Println(undecided, queue.Delivered, queue.Failed, queue.Unknown)
	// Output: deferred delivered failed unknown
}
