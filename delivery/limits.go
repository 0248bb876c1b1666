package delivery

import (
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
)

// Limits bound what an agent asks of receivers and of its own machine. A zero
// field is its default. Waiting for a limit charges no message an attempt.
type Limits struct {
	// Connections is how many may be open or being opened in total; 0 is 500.
	Connections int

	// PerSite is how many to one site, which is all destinations with the same
	// hosts; 0 is 20. Below it the number follows what the site takes: it grows
	// with what is delivered, and halves when hosts fail or say "later".
	PerSite int

	// PerHost and PerAddress are how many to one host name and to one address,
	// whatever the site; 0 is PerSite.
	PerHost, PerAddress int

	// Rate is how many messages a second are offered to one site; 0 is no limit.
	Rate float64

	// Messages is how many go over one connection; 0 is no limit but the host's
	// own (RFC 9422).
	Messages int

	// ConnectionLife is how old a connection may be to carry another message; 0
	// is 5 min.
	ConnectionLife time.Duration

	// Recipients is how many one transaction has; 0 is 100. A host that states
	// a lower limit is obeyed, and one that states a higher one gets no more.
	Recipients int
}

// The values that zero stands for in Limits.
const (
	defaultConnections    = 500
	defaultPerSite        = 20
	defaultConnectionLife = 5 * time.Minute
)

func (l Limits) withDefaults() Limits {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&l.Connections, defaultConnections)
	set(&l.PerSite, defaultPerSite)
	set(&l.PerHost, l.PerSite)
	set(&l.PerAddress, l.PerSite)
	set(&l.Recipients, attempt.DefaultRecipients)
	if l.ConnectionLife == 0 {
		l.ConnectionLife = defaultConnectionLife
	}
	return l
}

// problems are the fields that make no sense.
func (l *Limits) problems() (list []error) {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"Connections", l.Connections},
		{"PerSite", l.PerSite},
		{"PerHost", l.PerHost},
		{"PerAddress", l.PerAddress},
		{"Messages", l.Messages},
		{"Recipients", l.Recipients},
	} {
		if f.value < 0 {
			list = append(list, fmt.Errorf("delivery.Limits.%s: %d is negative", f.name, f.value))
		}
	}
	if !isRate(l.Rate) {
		list = append(list, fmt.Errorf("delivery.Limits.Rate: %v is no rate", l.Rate))
	}
	if l.ConnectionLife < 0 {
		list = append(list, fmt.Errorf("delivery.Limits.ConnectionLife: %v is negative", l.ConnectionLife))
	}
	return list
}
