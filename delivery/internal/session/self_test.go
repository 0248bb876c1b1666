package session

import (
	"testing"

	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// TestServersOfThisName: a server with a name of ours is this program, unless the operator
// has named the host and the reply to EHLO lacks the mark of this program.
func TestServersOfThisName(t *testing.T) {
	for _, c := range []struct {
		via          mx.Via
		greets, mark string
		remark       string
		want         bool
	}{
		{mx.ViaMX, "other.test", "m4rk", "m4rk", false},
		{mx.ViaMX, "Relay.Test.", "m4rk", "hello", true},
		{mx.ViaSmartHost, "relay.test", "", "hello", true},
		{mx.ViaSmartHost, "relay.test", "m4rk", "hello", false},
		{mx.ViaSmartHost, "relay.test", "m4rk", "hello m4rk there", true},
		{mx.ViaFallback, "relay.test", "m4rk", "hello", false},
		{mx.ViaImplicit, "relay.test", "m4rk", "hello", true},
	} {
		p := &Pool{Config: Config{Self: []string{"one.test", "relay.test."}, SelfMark: c.mark}}
		if got := p.isSelf(&Hop{Named: Named(c.via)}, &smtp.Extensions{Greeting: c.greets, Remark: c.remark}); got != c.want {
			t.Errorf("by %v, %s, %q with the mark %q: %t, want %t", c.via, c.greets, c.remark, c.mark, got, c.want)
		}
	}
}
