package delivery_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// TestNoSystemResolver: the zero Sender on a system without resolv.conf, such as Windows,
// says at once what to set. Mail is deferred: it is not the message that is wrong.
func TestNoSystemResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(delivery.Sender)
		defer s.Close()
		s.FailSystemResolver(&fs.PathError{Op: "open", Path: "/etc/resolv.conf", Err: fs.ErrNotExist})
		began := time.Now()
		report := sendContext(t, t.Context(), s, message("u@e.test"))
		want(t, &report.Recipients[0], queue.Deferred, "", "4.3.5")
		err := report.Recipients[0].Err
		for _, text := range []string{"resolv.conf", "set delivery.Sender.Resolver", "mx.FromNet"} {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%v does not say %q", err, text)
			}
		}
		if !errors.Is(err, fs.ErrNotExist) || !err.Temporary() || time.Since(began) != 0 {
			t.Errorf("%v, temporary %t, after %v", err, err.Temporary(), time.Since(began))
		}
		if err := s.Routable(t.Context(), "", "u@e.test"); err == nil || !strings.Contains(err.Error(), "set delivery.Sender.Resolver") {
			t.Errorf("Routable: %v", err)
		}
	})
}

// TestAgentWithoutSystemResolver: an agent that could deliver nothing says so before it
// takes mail. One that needs no DNS runs.
func TestAgentWithoutSystemResolver(t *testing.T) {
	none := &fs.PathError{Op: "open", Path: "/etc/resolv.conf", Err: fs.ErrNotExist}
	for _, c := range []struct {
		name  string
		set   func(s *delivery.Sender)
		fails bool
	}{
		{"by MX", func(*delivery.Sender) {}, true},
		{"by MX with a resolver", func(s *delivery.Sender) { s.Resolver = &mxtest.DNS{} }, false},
		{"a router of the program's own", func(s *delivery.Sender) { s.Router = viaHosts{{Name: "mail.test"}} }, false},
		{"a router of nothing", func(s *delivery.Sender) { s.Router = delivery.ByMX(nil) }, true},
		{"a router without a resolver", func(s *delivery.Sender) { s.Router = delivery.ByMX(&mx.Router{}) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &delivery.Agent{Queue: &memory.Queue{}, Sender: &delivery.Sender{}}
				a.Sender.FailSystemResolver(none)
				c.set(a.Sender)
				ctx, stop := context.WithTimeout(t.Context(), time.Hour)
				defer stop()
				began := time.Now()
				for what, err := range map[string]error{"Validate": a.Validate(), "Sender.Validate": a.Sender.Validate(), "Run": a.Run(ctx)} {
					if (err != nil) != c.fails || err != nil && !strings.Contains(err.Error(), "Resolver") {
						t.Errorf("%s: %v; want an error: %t", what, err, c.fails)
					}
				}
				if at := time.Since(began); (at == 0) != c.fails {
					t.Errorf("Run has ended after %v", at)
				}
			})
		})
	}
}
