package delivery_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestBounceSize: a short message to many recipients at a host that talks a lot comes
// back as a report of bounded length.
func TestBounceSize(t *testing.T) {
	reply := strings.TrimSuffix(smtptest.Lines(550, 4, strings.Repeat("y", 600)), "\n")
	correspond(t, refuse(reply), func(t *testing.T, c *correspondence) {
		const n = 1500
		m := message()
		m.Content = queue.String("Subject: x\r\n\r\nx\r\n")
		for i := range n {
			m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("u%d@e.test", i)})
		}
		c.start()
		c.submit(m)
		pass(time.Hour)
		if got := len(c.of(delivery.Failed)); got != n {
			t.Errorf("%d failures are told, want %d", got, n)
		}
		if got := c.one(); len(got.Recipients) != 1000 || !strings.Contains(got.Text, "500 more recipients") {
			t.Errorf("%d recipients are named in\n%.500s", len(got.Recipients), got.Text)
		}
		if got := len(c.home.Received()[0].Content); got > 1<<20 {
			t.Errorf("the report has %d octets", got)
		}
	})
}
