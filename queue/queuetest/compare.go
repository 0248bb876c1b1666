package queuetest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// differs says which field of a message but the content is not as it was put,
// and not these recipients; empty where everything is.
func differs(got, put queue.Message, recipients []queue.Recipient) string {
	for _, f := range []struct {
		field     string
		got, want any
	}{
		{"From", got.From, put.From},
		{"Key", got.Key, put.Key},
		{"Tenant", got.Tenant, put.Tenant},
		{"Priority", got.Priority, put.Priority},
		{"TLS", got.TLS, put.TLS},
		{"UTF8", got.UTF8, put.UTF8},
		{"Guarantee", got.Guarantee, put.Guarantee},
		{"EnvelopeID", got.EnvelopeID, put.EnvelopeID},
		{"Submitter", got.Submitter, put.Submitter},
		{"Return", got.Return, put.Return},
		{"Arrived", inMillis(got.Arrived), inMillis(put.Arrived)},
		{"NotBefore", inMillis(got.NotBefore), inMillis(put.NotBefore)},
		{"Expires", inMillis(got.Expires), inMillis(put.Expires)},
	} {
		if f.got != f.want {
			return fmt.Sprintf("%s is %#v, want %#v", f.field, f.got, f.want)
		}
	}
	if !maps.Equal(got.Metadata, put.Metadata) {
		return fmt.Sprintf("Metadata is %q, want %q", got.Metadata, put.Metadata)
	}
	if !slices.Equal(got.Recipients, recipients) {
		return fmt.Sprintf("Recipients is %+v, want %+v", got.Recipients, recipients)
	}
	return ""
}

// inMillis is a time as far as a queue must keep it; the zero time stays apart
// from every other.
func inMillis(t time.Time) string {
	if t.IsZero() {
		return "zero"
	}
	return t.UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano)
}

// full is a message that sets every field there is.
func full(now time.Time) *queue.Message {
	return &queue.Message{
		ID:   "ignored",
		From: "Sender+tag@Example.ORG",
		Recipients: []queue.Recipient{
			{Address: "One@Example.com", Notify: queue.NotifyNever, OriginalType: "rfc822", Original: "First+One@example.com"},
			{Address: `"two, or \"2\""@example.com`, Notify: queue.NotifySuccess | queue.NotifyDelay},
			{Address: "three@other.example"},
			{Address: "four@[192.0.2.4]", Notify: queue.NotifyFailure},
			{Address: "fünf@bücher.example"},
		},
		Content:    queue.String("Subject: everything\r\n\r\nNUL \x00, 8-bit \xff, and no end of line"),
		Key:        "key \x00\xff/1",
		Metadata:   map[string]string{"": "empty name", "name": "", "bytes \x00": "\xff\x00\r\n", "ü": "ß"},
		Tenant:     "tenant \xff",
		Priority:   -9,
		Arrived:    now.Add(-48*time.Hour + 123*time.Millisecond),
		NotBefore:  now.Add(-time.Hour + 456*time.Millisecond),
		Expires:    now.Add(5*24*time.Hour + 789*time.Millisecond),
		TLS:        queue.TLSRequired,
		UTF8:       true,
		Guarantee:  queue.AtMostOnce,
		EnvelopeID: "env \x7f+=id",
		Submitter:  "e=mc2@e.test",
		Return:     queue.ReturnHeaders,
	}
}
