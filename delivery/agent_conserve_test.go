package delivery_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// moody is a host that answers at random, and ends connections where it likes.
func moody(rnd *rand.Rand) *smtptest.Host {
	h := &smtptest.Host{Extensions: full()}
	if rnd.IntN(3) == 0 {
		h.Extensions = nil
	}
	replies := []string{"421 4.3.2 no", "450 4.2.1 later", "451 4.3.0 later", "452 4.5.3 many", "550 5.1.1 nobody", "554 5.7.1 no"}
	stages := []smtptest.Stage{
		smtptest.Banner, smtptest.Hello, smtptest.Mail, smtptest.Rcpt, smtptest.Data, smtptest.Final,
	}
	for range 3 + rnd.IntN(20) {
		c := smtptest.Cue{At: stages[rnd.IntN(len(stages))], Times: 1 + rnd.IntN(3), Conn: rnd.IntN(10)}
		switch rnd.IntN(6) {
		case 0:
			c.Then = smtptest.Close
		case 1:
			c.Then = smtptest.Reset
		case 2:
			c.Then = smtptest.Stall
		case 3:
			c.Delay = time.Duration(rnd.IntN(300)) * time.Second
		default:
			c.Reply = replies[rnd.IntN(len(replies))]
		}
		h.Script = append(h.Script, c)
	}
	return h
}

// ends are how many recipients came to each end, by address.
func (o *office) ends() map[string]map[delivery.EventKind]int {
	ends := map[string]map[delivery.EventKind]int{}
	for _, kind := range []delivery.EventKind{delivery.Delivered, delivery.Failed, delivery.Expired} {
		for _, e := range o.of(kind) {
			key := e.ID + " " + e.Recipient
			if ends[key] == nil {
				ends[key] = map[delivery.EventKind]int{}
			}
			ends[key][kind]++
		}
	}
	return ends
}

func TestRestarts(t *testing.T) {
	t.Run("QUE-3 QUE-4 every recipient comes to one end through restarts and a bad day", func(t *testing.T) {
		for seed := range uint64(12) {
			synctest.Test(t, func(t *testing.T) { conserve(t, seed) })
		}
	})
}

// conserve sends messages through a bad day, with restarts, and accounts for
// every recipient.
func conserve(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	hosts := map[string]*smtptest.Host{}
	zone := "$TTL 300\n"
	for i := range 4 {
		name := fmt.Sprintf("mx%d.test", i)
		hosts[name] = moody(rnd)
		zone += fmt.Sprintf("%s. A 192.0.2.%d\n", name, i+1)
	}
	for i := range 8 {
		zone += fmt.Sprintf("d%d.test. MX 10 mx%d.test.\nd%d.test. MX %d mx%d.test.\n", i, i%4, i, 10+10*rnd.IntN(2), (i+1)%4)
	}
	o := newOffice(t, &smtptest.Internet{Zone: zone, Hosts: hosts})
	o.agent.Sender.Timeouts = delivery.Timeouts{Final: time.Minute, Rcpt: time.Minute, Mail: time.Minute, Data: time.Minute}
	o.agent.Settings.Expire = 2 * 24 * time.Hour
	o.start()
	accepted := map[string]bool{}
	for i := range 60 {
		var to []string
		for range 1 + rnd.IntN(4) {
			to = append(to, fmt.Sprintf("u%d.%d@d%d.test", i, len(to), rnd.IntN(8)))
		}
		m := message(to...)
		m.From = ""
		if rnd.IntN(4) == 0 {
			m.Guarantee = queue.AtMostOnce
		}
		id := o.submit(m)
		for _, r := range to {
			accepted[id+" "+r] = true
		}
		pass(time.Duration(rnd.IntN(120)) * time.Second)
		if i%20 == 10 {
			o.stop()
			o.start()
		}
	}
	pass(3 * 24 * time.Hour)
	ends := o.ends()
	for key := range accepted {
		total := 0
		for _, n := range ends[key] {
			total += n
		}
		if total != 1 {
			t.Errorf("seed %d: %s came to %v, want one end", seed, key, ends[key])
		}
	}
	if len(ends) != len(accepted) || o.left() != 0 {
		t.Errorf("seed %d: %d recipients accepted, %d ended, %d deliveries left", seed, len(accepted), len(ends), o.left())
	}
	o.stop()
	o.net.Close()
}
