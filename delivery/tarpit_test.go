package delivery_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// tarpits is a world with so many domains whose hosts take minutes for every reply, and
// good.test.
func tarpits(n int) *smtptest.Internet {
	var zone strings.Builder
	zone.WriteString("$TTL 86400\ngood.test. A 198.51.100.1\n")
	hosts := map[string]*smtptest.Host{"good.test": {Extensions: full()}}
	var script []smtptest.Cue
	for _, at := range []smtptest.Stage{smtptest.Banner, smtptest.Hello, smtptest.Mail, smtptest.Rcpt} {
		script = append(script, smtptest.Cue{At: at, Delay: 299 * time.Second})
	}
	script = append(script, smtptest.Cue{At: smtptest.Final, Delay: 599 * time.Second, Reply: "451 later"})
	for i := range n {
		fmt.Fprintf(&zone, "t%d.test. AAAA 2001:db8::%x\n", i, i+1)
		hosts[fmt.Sprintf("t%d.test", i)] = &smtptest.Host{Script: script}
	}
	return &smtptest.Internet{Zone: zone.String(), Hosts: hosts}
}

// TestTarpits: hosts that take minutes for every reply cannot take all connections.
func TestTarpits(t *testing.T) {
	n := 700 // more than there are connections
	if os.Getenv("NEXTHOP_LONG") != "" {
		n = 2000
	}
	t.Run("QUE-13 a host that answers quickly gets its mail beside many that do not", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, tarpits(n))
			o.start()
			o.submit(message("first@good.test"))
			pass(time.Second)
			for i := range n {
				o.submit(message(fmt.Sprintf("u@t%d.test", i)))
			}
			pass(time.Minute)
			o.submit(message("u@good.test"))
			pass(5 * time.Second)
			if got := len(o.of(delivery.Delivered)); got != 2 {
				t.Fatalf("%d delivered after 5 s, want 2", got)
			}
			before := len(o.of(delivery.Delivered))
			for i := range 500 {
				o.submit(message(fmt.Sprintf("u%d@good.test", i)))
			}
			pass(5 * time.Second)
			if got := len(o.of(delivery.Delivered)) - before; got != 500 {
				t.Errorf("%d of 500 messages after 5 s", got)
			}
		})
	})
	t.Run("QUE-13 and so does one of which nothing is known yet", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, tarpits(600))
			o.start()
			for i := range 600 {
				o.submit(message(fmt.Sprintf("u@t%d.test", i)))
			}
			pass(time.Second)
			o.submit(message("u@good.test"))
			pass(5 * time.Second)
			if got := len(o.of(delivery.Delivered)); got != 1 {
				t.Error("it has not got its message after 5 s")
			}
		})
	})
	t.Run("QUE-13 and with its first message all the others", func(t *testing.T) {
		const messages = 100
		synctest.Test(t, func(t *testing.T) {
			world := tarpits(2000) // more than the memory has room for
			o := newOffice(t, world)
			o.start()
			for i := range 2000 {
				o.submit(message(fmt.Sprintf("u@t%d.test", i)))
			}
			pass(time.Minute)
			for i := range messages {
				o.submit(message(fmt.Sprintf("u%d@good.test", i)))
			}
			pass(15 * time.Second)
			if got := len(world.Hosts["good.test"].Messages()); got != messages {
				t.Errorf("it has %d of %d messages after 15 s", got, messages)
			}
		})
	})
	t.Run("QUE-13 and as many a second as it gets alone, but for a tenth", func(t *testing.T) {
		const messages = 2000
		took := func(tarpitted int) (last time.Duration) {
			synctest.Test(t, func(t *testing.T) {
				world := tarpits(tarpitted)
				good := world.Hosts["good.test"]
				good.Script = []smtptest.Cue{{At: smtptest.Final, Delay: 100 * time.Millisecond}}
				o := newOffice(t, world)
				o.start()
				o.submit(message("first@good.test")) // it is known to be quick
				pass(time.Second)
				for i := range tarpitted {
					o.submit(message(fmt.Sprintf("u@t%d.test", i)))
				}
				pass(time.Minute)
				began := time.Now()
				for i := range messages {
					o.submit(message(fmt.Sprintf("u%d@good.test", i)))
				}
				for len(good.Messages()) < messages+1 && time.Since(began) < time.Hour {
					pass(100 * time.Millisecond)
				}
				last = time.Since(began)
			})
			return last
		}
		alone, beside := took(0), took(n)
		if beside > alone*10/9 {
			t.Errorf("%d messages take %v alone and %v beside %d tarpits", messages, alone, beside, n)
		}
		t.Logf("%v alone, %v beside %d", alone, beside, n)
	})
}
