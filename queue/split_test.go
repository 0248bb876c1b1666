package queue_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
)

func TestSplit(t *testing.T) {
	tests := []struct {
		name  string
		rcpts []string
		want  []queue.Part
	}{
		{"one", []string{"a@example.com"}, []queue.Part{{"example.com", []int{0}}}},
		{"by domain in order of the first", []string{"a@x.test", "b@y.test", "c@x.test"},
			[]queue.Part{{"x.test", []int{0, 2}}, {"y.test", []int{1}}}},
		{"spellings of one domain", []string{"a@Example.COM", "b@example.com.", "c@bücher.example", "d@xn--bcher-kva.example"},
			[]queue.Part{{"example.com", []int{0, 1}}, {"xn--bcher-kva.example", []int{2, 3}}}},
		{"literals", []string{"a@[192.0.2.1]", "b@[IPv6:2001:DB8::1]"},
			[]queue.Part{{"[192.0.2.1]", []int{0}}, {"[IPv6:2001:db8::1]", []int{1}}}},
		{"the same mailbox twice", []string{"a@x.test", "a@x.test"}, []queue.Part{{"x.test", []int{0, 1}}}},
		{"quoted at-sign", []string{`"a@b.test"@x.test`}, []queue.Part{{"x.test", []int{0}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := queue.Split(messageTo(tt.rcpts...))
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Split = %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestMessageValidate(t *testing.T) {
	change := func(f func(m *queue.Message)) *queue.Message {
		m := messageTo("a@x.test", "b@x.test")
		f(m)
		return m
	}
	rcpt := func(f func(r *queue.Recipient)) *queue.Message {
		return change(func(m *queue.Message) { f(&m.Recipients[1]) })
	}
	tests := []struct {
		name     string
		m        *queue.Message
		field    string
		index    int
		enhanced string
	}{
		{"no recipients", messageTo(), "Recipients", -1, "5.1.0"},
		{"no domain", messageTo("a@x.test", "postmaster"), "Recipients", 1, "5.1.3"},
		{"CRLF in a recipient", messageTo("a@x.test\r\nRCPT TO:<b@x.test>"), "Recipients", 0, "5.1.3"},
		{"domain of 300 octets", messageTo("a@" + strings.Repeat("abcdefghi.", 30) + "test"), "Recipients", 0, "5.1.2"},
		{"bad sender", change(func(m *queue.Message) { m.From = "a b@x.test" }), "From", -1, "5.1.7"},
		{"no content", change(func(m *queue.Message) { m.Content = nil }), "Content", -1, "5.6.0"},
		{"long key", change(func(m *queue.Message) { m.Key = strings.Repeat("k", queue.MaxKey+1) }), "Key", -1, "5.5.4"},
		{"long tenant", change(func(m *queue.Message) { m.Tenant = strings.Repeat("k", queue.MaxTenant+1) }), "Tenant", -1, "5.5.4"},
		{"long submitter", change(func(m *queue.Message) { m.Submitter = strings.Repeat("k", queue.MaxParameter+1) }), "Submitter", -1, "5.5.4"},
		{"long envelope id", change(func(m *queue.Message) { m.EnvelopeID = strings.Repeat("k", queue.MaxParameter+1) }), "EnvelopeID", -1, "5.5.4"},
		{"much metadata", change(func(m *queue.Message) {
			m.Metadata = map[string]string{"a": strings.Repeat("k", queue.MaxMetadata)}
		}), "Metadata", -1, "5.5.4"},
		{"priority", change(func(m *queue.Message) { m.Priority = 10 }), "Priority", -1, "5.5.4"},
		{"TLS", change(func(m *queue.Message) { m.TLS = 3 }), "TLS", -1, "5.5.4"},
		{"guarantee", change(func(m *queue.Message) { m.Guarantee = 2 }), "Guarantee", -1, "5.5.4"},
		{"return", change(func(m *queue.Message) { m.Return = 3 }), "Return", -1, "5.5.4"},
		{"never and something", rcpt(func(r *queue.Recipient) { r.Notify = queue.NotifyNever | queue.NotifyDelay }), "Recipients", 1, "5.5.4"},
		{"unknown occasion", rcpt(func(r *queue.Recipient) { r.Notify = 16 }), "Recipients", 1, "5.5.4"},
		{"address type", rcpt(func(r *queue.Recipient) { r.OriginalType = "rfc822;" }), "Recipients", 1, "5.5.4"},
		{"long original", rcpt(func(r *queue.Recipient) { r.Original = strings.Repeat("k", queue.MaxParameter+1) }), "Recipients", 1, "5.5.4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var e *queue.MessageError
			if err := tt.m.Validate(); !errors.As(err, &e) {
				t.Fatalf("Validate = %v, want a *MessageError", err)
			}
			if e.Field != tt.field || e.Index != tt.index || e.Enhanced != tt.enhanced || e.Err == nil {
				t.Errorf("Validate = %+v, want field %s, index %d, status %s", e, tt.field, tt.index, tt.enhanced)
			}
		})
	}
	t.Run("everything at its bound is taken", func(t *testing.T) {
		m := change(func(m *queue.Message) {
			m.From, m.Priority, m.TLS, m.Guarantee, m.Return = "", -9, queue.TLSOptional, queue.AtMostOnce, queue.ReturnHeaders
			m.Key, m.Tenant = strings.Repeat("k", queue.MaxKey), strings.Repeat("t", queue.MaxTenant)
			m.Recipients[0].Notify = queue.NotifySuccess | queue.NotifyFailure | queue.NotifyDelay
			m.Recipients[1].Notify, m.Recipients[1].OriginalType = queue.NotifyNever, "X-uucp-2"
		})
		if err := m.Validate(); err != nil {
			t.Errorf("Validate = %v", err)
		}
	})
}

func TestParseDestination(t *testing.T) {
	if got, err := queue.ParseDestination("BÜCHER.example."); got != "xn--bcher-kva.example" || err != nil {
		t.Errorf("ParseDestination = %q, %v", got, err)
	}
	var e *queue.MessageError
	if _, err := queue.ParseDestination("a..b"); !errors.As(err, &e) || e.Field != "Destination" {
		t.Errorf("ParseDestination = %v, want a *MessageError", err)
	}
}

func messageTo(rcpts ...string) *queue.Message {
	m := &queue.Message{From: "me@example.org", Content: queue.String("Subject: hi\r\n\r\nHi.\r\n")}
	for _, r := range rcpts {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: r})
	}
	return m
}

func FuzzSplit(f *testing.F) {
	f.Add("me@example.org", "a@example.com", "b@EXAMPLE.com", "c@bücher.example")
	f.Add("", `"a@b"@example.com`, "<a@example.com>", "@relay.example:a@example.com")
	f.Add("a\r\n@example.com", "a@[192.0.2.1]", "a@[IPv6:2001:db8::1]", "a@xn--bcher-kva.example.")
	f.Fuzz(func(t *testing.T, from, a, b, c string) {
		m := messageTo(a, b, c)
		m.From = from
		parts, err := queue.Split(m)
		if err != nil {
			var e *queue.MessageError
			if !errors.As(err, &e) || e.Field != "From" && e.Field != "Recipients" || e.Enhanced == "" || parts != nil {
				t.Fatalf("Split = %v, %v, want parts or a *MessageError about an address", parts, err)
			}
			return
		}
		seen := make(map[int]bool)
		names := make(map[string]bool)
		for _, p := range parts {
			if again, err := queue.ParseDestination(p.Destination); err != nil || again != p.Destination || names[p.Destination] {
				t.Fatalf("the destination %q is %q once more, %v, want one canonical form", p.Destination, again, err)
			}
			names[p.Destination] = true
			for _, i := range p.Recipients {
				if seen[i] || i < 0 || i > 2 {
					t.Fatalf("Split = %v: recipient %d is there twice or is none", parts, i)
				}
				seen[i] = true
			}
		}
		if len(seen) != 3 {
			t.Fatalf("Split = %v, want all three recipients", parts)
		}
	})
}
