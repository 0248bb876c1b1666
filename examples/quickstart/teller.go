package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/mx"
)

// teller prints what happens, when it happens. Several may speak at a time.
type teller struct {
	mu     sync.Mutex
	w      io.Writer
	colour bool
	start  time.Time
}

func newTeller(w io.Writer) *teller {
	return &teller{w: w, colour: takesColour(w), start: time.Now()}
}

// takesColour reports whether w is a terminal whose user has not turned colours off
// (no-color.org).
func takesColour(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Colours of the terminal.
const (
	bold  = "1"
	red   = "31"
	green = "32"
	cyan  = "36"
	faint = "2"
)

func (t *teller) paint(colour, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (t *teller) print(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, format, args...)
}

// chapter begins a part of the story.
func (t *teller) chapter(format string, args ...any) {
	t.print("\n%s\n", t.paint(bold, fmt.Sprintf(format, args...)))
}

// quote prints lines as they are.
func (t *teller) quote(text string) {
	for l := range strings.SplitSeq(text, "\n") {
		t.print("               %s\n", t.paint(faint, l))
	}
}

// say prints a line about one of the hosts, with the time since the start.
func (t *teller) say(who, format string, args ...any) {
	t.print("%6.2f s  %s%s\n", time.Since(t.start).Seconds(), t.paint(cyan, fmt.Sprintf("%-6s", who)),
		fmt.Sprintf(format, args...))
}

// checked is a line of the summary.
func (t *teller) checked(c *claim) {
	if c.holds {
		t.print("  %s  %s\n", t.paint(green, "yes"), c.text)
		return
	}
	t.print("  %s  %s\n       found: %s\n", t.paint(red, "NO "), c.text, c.found)
}

// trace prints the steps of a host's deliveries.
func (t *teller) trace(who string) *delivery.Trace {
	return &delivery.Trace{
		Route: func(domain string, route mx.Route, err error) {
			if err != nil {
				t.say(who, "has no route to %s: %v", domain, err)
				return
			}
			t.say(who, "%s", routeInWords(domain, &route))
		},
		Connected: func(host string, addr netip.AddrPort, err error) {
			if err == nil {
				t.say(who, "connects to %s at %s", host, addr)
			}
		},
		Attempt: func(_ string, _ []string, a delivery.Attempt) {
			if a.Err != nil {
				t.say(who, "%s: %s", a.Host, t.paint(red, a.Err.Reason()))
			}
		},
	}
}

func routeInWords(domain string, route *mx.Route) string {
	var b strings.Builder
	fmt.Fprintf(&b, "will try for %s:", domain)
	for i, h := range route.Hosts {
		if i > 0 {
			b.WriteString(", then")
		}
		fmt.Fprintf(&b, " %s", h.Name)
	}
	for _, l := range route.LeftOut {
		fmt.Fprintf(&b, "; not %s: %s", l.Host.Name, l.Reason)
	}
	return b.String()
}

// dialogue prints every line of a session.
func (t *teller) dialogue() *delivery.Trace {
	return &delivery.Trace{Line: func(_ string, _ netip.AddrPort, l delivery.Line) {
		mark := "< "
		if l.Sent {
			mark = "> "
		}
		t.quote(mark + l.Text)
	}}
}
