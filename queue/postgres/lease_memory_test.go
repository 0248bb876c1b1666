package postgres

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// What a handle that keeps outcomes remembers of a lease does not grow with the recipients
// of the message at other destinations.
func TestLeasesOfAMessageForVeryMany(t *testing.T) {
	const recipients, claims = 5000, 50
	m := &queue.Message{Tenant: "tenant", Key: "key"}
	for i := range recipients {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("somebody@d%d.example", i)})
	}
	envelope := encodeMessage(m)
	q := &Queue{o: Options{KeepOutcomes: time.Hour}}
	heap := func() int64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc)
	}
	before := heap()
	for i := range claims {
		n, message, destination, token := int32(1), int64(1), fmt.Sprintf("d%d.example", i), int64(i)
		tag, envelopeSum, size, due, not := int32(1), sum(envelope), int64(1), int64(1), false
		q.hand([]claimed{{
			n: &n, message: &message, destination: &destination, token: &token, due: &due, warned: &not, marked: &not, tag: &tag,
			size: &size, states: encodeStates([]queue.State{{Index: i}}), envelope: envelope, envelopeSum: &envelopeSum,
		}}, time.Now(), func(d *queue.Delivery, u *queue.Unreadable) {
			if u != nil {
				t.Fatal(u.Err)
			}
		})
	}
	if each := (heap() - before) / claims; each > 10_000 {
		t.Errorf("%d bytes are remembered of each lease of a message for %d recipients", each, recipients)
	}
	runtime.KeepAlive(q)
}
