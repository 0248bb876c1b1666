package smtptest

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Violation is a rule that a client broke.
type Violation struct {
	Rule   Rule
	Detail string // the command or octets that broke it
	Conn   int    // the number of the connection
	At     time.Time
}

// String names the rule, its section, and what broke it.
func (v Violation) String() string {
	verb := "SHOULD NOT"
	if v.Rule.Binding() {
		verb = "MUST NOT"
	}
	return fmt.Sprintf("%s (%s, %s): connection %d: %s", v.Rule, v.Rule.Section(), verb, v.Conn, v.Detail)
}

// Violations returns the violations by clients of this Host, in order, except of rules in
// Allow.
func (h *Host) Violations() []Violation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.violations)
}

// Check reports every violation as a test error.
func (h *Host) Check(tb testing.TB) {
	tb.Helper()
	for _, v := range h.Violations() {
		tb.Errorf("%s: %v", h.name(), v)
	}
}

// mostDetail limits the quoted text of a client.
const mostDetail = 200

// breach records a violation.
func (s *session) breach(r Rule, detail string) {
	if slices.Contains(s.host.Allow, r) {
		return
	}
	if len(detail) > mostDetail {
		detail = detail[:mostDetail] + "..."
	}
	v := Violation{Rule: r, Detail: fmt.Sprintf("%q", detail), Conn: s.number, At: time.Now()}
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	s.host.violations = append(s.host.violations, v)
}
