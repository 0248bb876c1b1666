package waiting

import (
	"strings"
	"time"
)

// The codes of reasons that are stored.
const (
	SiteDown     = "site-down"
	LoginRefused = "login-refused"
	NoRoute      = "dns"
	Suspended    = "suspended"
)

// Reason is why mail waits.
type Reason struct {
	// Code is one of the above.
	Code string

	// Host is the host that it is about, if there is one.
	Host string

	// Since is since when, by the wall clock, to the second.
	Since time.Time

	// Text is the reply or the reason.
	Text string
}

// String is the text that is stored: "site-down mx.example.net since
// 2026-11-30T08:00:00Z: connection refused".
func (r Reason) String() string {
	var b strings.Builder
	b.WriteString(r.Code)
	if r.Host != "" {
		b.WriteString(" " + r.Host)
	}
	if !r.Since.IsZero() {
		b.WriteString(" since " + r.Since.UTC().Format(time.RFC3339))
	}
	if r.Text != "" {
		b.WriteString(": " + r.Text)
	}
	return b.String()
}

// Parse reads a text that String has made; ok is false for any other.
func Parse(text string) (r Reason, ok bool) {
	head, said, _ := strings.Cut(text, ": ")
	words := strings.Split(head, " ")
	switch words[0] {
	case SiteDown, LoginRefused, NoRoute, Suspended:
		r.Code = words[0]
	default:
		return Reason{}, false
	}
	rest := words[1:]
	if len(rest) == 1 || len(rest) == 3 {
		r.Host, rest = rest[0], rest[1:]
	}
	if len(rest) == 2 && rest[0] == "since" {
		at, err := time.Parse(time.RFC3339, rest[1])
		if err != nil {
			return Reason{}, false
		}
		r.Since, rest = at, nil
	}
	if len(rest) > 0 {
		return Reason{}, false
	}
	r.Text = said
	return r, true
}
