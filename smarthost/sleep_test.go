package smarthost

import (
	"errors"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age/agetest"
)

// TestFoundBySRVAfterSleep: SRV records that DNSSEC vouches for are asked for again once
// their TTL is over, this machine asleep or awake, and what could not be had then is not
// waited for in vain.
func TestFoundBySRVAfterSleep(t *testing.T) {
	now := time.Now()
	kept := &choice{secure: true, ttl: time.Hour, until: now.Add(time.Hour)}
	for _, c := range []struct {
		what   string
		failed error // of the last question, which was asked now
		slept  time.Duration
		good   bool
	}{
		{"MX-32 awake", nil, 0, true},
		{"MX-32 asleep within the TTL", nil, time.Hour - time.Second, true},
		{"MX-32 asleep until its end", nil, time.Hour, false},
		{"MX-32 the wall clock put back", nil, -8 * time.Hour, true},
		{"MX-32 asleep after a question without an answer", errors.New("no answer"), time.Hour, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			d := &discovered{kept: kept, failed: c.failed, at: now}
			if got := d.current(agetest.Slept(now, c.slept)); (got != nil) != c.good {
				t.Errorf("it is used: %t, want %t", got != nil, c.good)
			}
		})
	}
}
