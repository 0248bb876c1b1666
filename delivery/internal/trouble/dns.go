package trouble

import (
	"sync"
	"time"
)

// DNS is the result of the last probe of DNS.
type DNS struct {
	mu      sync.Mutex
	probing chan struct{} // closed when the result is known; nil if nobody probes
	at      time.Time
	works   bool
}

// probeAge is how long a result is used.
const probeAge = time.Second

// Works reports whether DNS works. It calls probe if nobody else does so and the last
// result is too old.
func (d *DNS) Works(probe func() bool) (works bool) {
	d.mu.Lock()
	if time.Since(d.at) < probeAge {
		defer d.mu.Unlock()
		return d.works
	}
	if probing := d.probing; probing != nil {
		d.mu.Unlock()
		<-probing
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.works
	}
	d.probing = make(chan struct{})
	d.mu.Unlock()
	works = probe()
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.probing)
	d.probing, d.at, d.works = nil, time.Now(), works
	return works
}
