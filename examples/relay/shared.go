package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

const defaultSchema = postgres.DefaultSchema

// runShared does an operation on a database that relays work on. What only the queue
// knows is asked of it, and what a relay knows of the relays. What a relay has in its
// hand, and its memory of hosts, are its own: all of them do what is to be done about
// those. Without a relay it is done here.
func (o *operation) runShared(ctx context.Context, d *database, w io.Writer) error {
	here := &delivery.Agent{Queue: d}
	relays, err := d.relays(ctx)
	if err != nil {
		return databaseError(err)
	}
	switch {
	case len(relays) == 0 || o.DryRun:
		return o.run(ctx, here, w)
	case o.Verb == "why":
		return o.whyShared(ctx, d, here, relays, w)
	case o.Verb == "sites":
		return o.sitesShared(ctx, d, here, relays, w)
	case o.Verb == "hold", o.Verb == "fail", o.Verb == "flush":
		return o.byEach(ctx, d, relays, w)
	case o.Verb == "release", o.Verb == "drop", o.Verb == "suspend", o.Verb == "resume":
		for _, name := range relays {
			one, err := d.ask(ctx, name, *o)
			if errors.Is(err, errNoAnswer) {
				continue // the next may do it, or do it again
			}
			if err != nil {
				return databaseError(err)
			}
			_, err = w.Write(one.out)
			return errors.Join(one.err, err)
		}
	}
	return o.run(ctx, here, w)
}

// byEach has every relay do it, and says how many messages it was done to.
func (o *operation) byEach(ctx context.Context, d *database, relays []string, w io.Writer) error {
	var (
		most, sum int
		problem   error
		done      bool
	)
	asked := *o
	asked.JSON = true
	for _, one := range d.askAll(ctx, relays, asked) {
		if one.err != nil {
			problem = one.err
		} else {
			done = true
		}
		n := o.number(one.out)
		most, sum = max(most, n), sum+n
	}
	if err := ctx.Err(); err != nil {
		return databaseError(err)
	}
	switch {
	case !done && problem == nil: // all of them have gone
		return o.run(ctx, &delivery.Agent{Queue: d}, w)
	case o.Match == nil && o.Verb != "flush":
		if !done {
			return problem
		}
		return o.printDone(w)
	case o.Verb == "fail": // each message fails once
		most = sum
	}
	if done {
		problem = nil
	}
	return errors.Join(problem, o.printNumber(w, most))
}

// number is the one in {"held":7}.
func (o *operation) number(out []byte) int {
	var counted map[string]json.RawMessage
	n := 0
	if json.Unmarshal(out, &counted) == nil {
		_ = json.Unmarshal(counted[done[o.Verb]], &n) // of one message it is true
	}
	return n
}

// better are reasons that only a relay knows, and that say more than what is stored.
var better = []string{
	delivery.WaitSiteDown.String(), delivery.WaitSiteFull.String(), delivery.WaitRate.String(), delivery.WaitLoginRefused.String(),
	delivery.WaitDNS.String(), delivery.WaitNetwork.String(), delivery.WaitSuspended.String(),
}

// whyShared says why mail waits by what is stored, and for a message by what the relays
// say of it, for a domain by what they say of its site.
func (o *operation) whyShared(ctx context.Context, d *database, here *delivery.Agent, relays []string, w io.Writer) error {
	said := make(map[string]waits) // by recipient
	sites := make(map[string]site) // by destination
	if o.isMessage(ctx, here) {
		asked := *o
		asked.JSON = true
		for _, one := range d.askSoon(ctx, relays, asked) {
			for y := range decoded[waits](one.out) {
				if before, ok := said[y.Recipient]; !ok || slices.Contains(better, y.Reason) || before.Site == "" && y.Site != "" {
					said[y.Recipient] = y
				}
			}
		}
	} else {
		for _, s := range d.sites(ctx, relays) {
			for _, destination := range s.Destinations {
				sites[destination] = s
			}
		}
	}
	return o.whyEach(ctx, here, func(y waits) error {
		if other, ok := said[y.Recipient]; ok {
			y = other
		} else if s, ok := sites[y.Destination]; ok {
			y.Site = s.Site
			if y.State != delivery.WaitHeld.String() && y.Reason != delivery.WaitSchedule.String() && slices.Contains(better, s.State) {
				y.Reason, y.Until, y.Host, y.Last, y.Note = s.State, s.Until, s.Host, s.Last, s.Reason
			}
		}
		return y.print(w, o.JSON)
	})
}

// sites asks the relays for what they know of sites, and joins that.
func (d *database) sites(ctx context.Context, relays []string) map[string]site {
	all := make(map[string]site)
	for _, one := range d.askSoon(ctx, relays, operation{Verb: "sites", JSON: true}) {
		for s := range decoded[site](one.out) {
			if s.Site == "" {
				continue
			}
			if other, ok := all[s.Site]; ok {
				s = other.join(s)
			}
			all[s.Site] = s
		}
	}
	return all
}

// join is a site as two relays see it.
func (s site) join(other site) site {
	if other.State != "open" && s.State == "open" {
		other, s = s, other
	}
	s.Connections, s.Window, s.Waiting = s.Connections+other.Connections, s.Window+other.Window, max(s.Waiting, other.Waiting)
	s.Destinations = append(slices.Clone(s.Destinations), other.Destinations...)
	slices.Sort(s.Destinations)
	s.Destinations = slices.Compact(s.Destinations)
	return s
}

// sitesShared prints what relays know, and what nobody knows the site of.
func (o *operation) sitesShared(ctx context.Context, d *database, here *delivery.Agent, relays []string, w io.Writer) error {
	known := d.sites(ctx, relays)
	sited := make(map[string]bool)
	for _, s := range known {
		for _, destination := range s.Destinations {
			sited[destination] = true
		}
	}
	var stored bytes.Buffer
	local := operation{Verb: "sites", JSON: true}
	if err := local.run(ctx, here, &stored); err != nil {
		return err
	}
	for s := range decoded[site](stored.Bytes()) {
		s.Destinations = slices.DeleteFunc(s.Destinations, func(name string) bool { return sited[name] })
		if len(s.Destinations) > 0 {
			if err := s.print(w, o.JSON); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if err := known[name].print(w, o.JSON); err != nil {
			return err
		}
	}
	return nil
}

// decoded are values that stand one after the other, as far as they make sense.
func decoded[T any](text []byte) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		for d := json.NewDecoder(bytes.NewReader(text)); d.More(); {
			var one T
			if d.Decode(&one) != nil || !yield(one) {
				return
			}
		}
	}
}

// printDone says what was done to a message.
func (o *operation) printDone(w io.Writer) error {
	if o.JSON {
		return printJSON(w, map[string]any{"id": o.Argument, done[o.Verb]: true})
	}
	_, err := fmt.Fprintf(w, "%s %s\n", o.Argument, done[o.Verb])
	return err
}

// printNumber says to how many messages it was done.
func (o *operation) printNumber(w io.Writer, n int) error {
	switch {
	case o.JSON:
		return printJSON(w, map[string]int{done[o.Verb]: n})
	case o.Verb == "flush" && o.Match == nil:
		_, err := fmt.Fprintf(w, "%d due now\n", n)
		return err
	}
	_, err := fmt.Fprintf(w, "%d %s\n", n, done[o.Verb])
	return err
}
