package delivery_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
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
		for _, text := range []string{"resolv.conf", "set Sender.Resolver", "mx.FromNet"} {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%v does not say %q", err, text)
			}
		}
		if !errors.Is(err, fs.ErrNotExist) || !err.Temporary() || time.Since(began) != 0 {
			t.Errorf("%v, temporary %t, after %v", err, err.Temporary(), time.Since(began))
		}
		if err := s.Routable(t.Context(), "", "u@e.test"); err == nil || !strings.Contains(err.Error(), "set Sender.Resolver") {
			t.Errorf("Routable: %v", err)
		}
	})
}
