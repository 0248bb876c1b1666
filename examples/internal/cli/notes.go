package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// notes prints what operators should know about DNS and the files of this machine. It
// always prints that a file has become unusable. With -v, or from a relay, which runs
// for a long time, it also prints which settings of a file are not followed and which
// means are left out with a DNS server.
func (t *Transport) notes(role Role, w io.Writer) *mx.Trace {
	var mu sync.Mutex // lines of several questions
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(w, format+"\n", args...)
	}
	talk := t.Verbose || role.Relay
	said := make(map[string]bool) // two readers of one file say the same
	return &mx.Trace{
		Read: func(file string, ignored []string, err error) {
			if err != nil {
				say("* %s: what it said before stays in force: %v", file, err)
			}
			for _, what := range ignored {
				mu.Lock()
				again := said[file+what] || len(said) > 1000
				said[file+what] = true
				mu.Unlock()
				if talk && !again {
					say("* %s: not followed: %s", file, what)
				}
			}
		},
		Without: func(server string, m mx.Means, why error, remain time.Duration) {
			if talk {
				say("* DNS server %s: without %v for %v: %v", server, m, remain, why)
			}
		},
	}
}
