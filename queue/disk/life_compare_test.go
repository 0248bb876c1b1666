package disk

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// holding is what a spool holds.
func (l *life) holding(s *Spool) (map[deliveryKey]string, error) {
	held := map[deliveryKey]string{}
	numbers, err := s.listed(context.Background(), 0, s.index.Messages(), "")
	if err != nil {
		return nil, err
	}
	for _, number := range numbers {
		for _, slot := range s.slots(number) {
			e := s.index.Get(slot)
			v, err := describe(s, slot, number)
			if err != nil {
				return nil, fmt.Errorf("%s at %s: %w", formatID(number), e.Destination, err)
			}
			held[deliveryKey{formatID(number), e.Destination}] = v
		}
	}
	return held, nil
}

// compare compares the spool with what it may hold, and takes what it holds
// for what is saved from now on.
func (l *life) compare() error {
	if len(l.s.problems) > 0 {
		return fmt.Errorf("a power cut is no damage: %v", l.s.problems)
	}
	if err := l.s.endHolds(context.Background(), l.now); err != nil {
		return err
	}
	held, err := l.holding(l.s)
	if err != nil {
		return err
	}
	for k, versions := range l.known {
		have := held[k]
		if !l.allowed(k, versions, have) {
			return fmt.Errorf("%v is %q, want one of %q", k, have, versions)
		}
		l.known[k] = []string{have}
		if have == "" {
			delete(l.memory, k) // else a checkpoint may have it, and be lost
		}
	}
	if err := l.compareNew(held); err != nil {
		return err
	}
	for k := range held {
		text, err := readContent(l.s, k.id)
		if err != nil || text != l.content[k.id] {
			return fmt.Errorf("content of %s: %d bytes, want %d (%w)", k.id, len(text), len(l.content[k.id]), err)
		}
	}
	for name, versions := range l.postpone {
		at, _ := l.s.index.Postponed(name)
		until := at.String()
		if !slices.Contains(versions, until) && len(l.flights()) == 0 && !l.over(name, until) && !l.passed(until) {
			return fmt.Errorf("%s is postponed until %s, want one of %q", name, until, versions)
		}
		l.postpone[name] = []string{until}
	}
	if have := haltedOf(l.s.suspended); len(l.halted) > 0 && !slices.Contains(l.halted, have) || len(l.halted) == 0 && have != "" {
		return fmt.Errorf("%q is suspended, want one of %q", have, l.halted)
	}
	l.halted = []string{haltedOf(l.s.suspended)}
	if err := l.holds(); err != nil {
		return err
	}
	if err := l.compareOutcomes(); err != nil {
		return err
	}
	return l.accounts()
}

// holds checks that the holds with an end are known, and no others.
func (l *life) holds() error {
	want := map[uint64]int64{}
	numbers, _, _ := l.s.index.List(nil, 0, l.s.index.Messages(), "")
	for _, number := range numbers {
		for _, slot := range l.s.slots(number) {
			d, h, err := l.s.readDelivery(slot, number)
			if err != nil {
				return err
			}
			l.s.unpin(h.segment)
			if d.Held && !d.Hold.Until.IsZero() {
				want[number] = index.Micros(d.Hold.Until)
			}
		}
	}
	for number, until := range l.s.holdEnds.All() {
		if is, held := want[number]; held && is != until {
			return fmt.Errorf("the hold of %s ends at %d, want %d", formatID(number), until, want[number])
		}
		delete(want, number)
	}
	if len(want) > 0 {
		return fmt.Errorf("holds whose ends are not known: %v", want)
	}
	return nil
}

// over reports whether a destination's postponement is gone and has passed, so
// that it may have been forgotten.
func (l *life) over(name, until string) bool {
	if until != (time.Time{}).String() {
		return false
	}
	return slices.ContainsFunc(l.postpone[name], l.passed)
}

// passed reports whether a postponement has passed, so that it makes no difference whether
// it is still there.
func (l *life) passed(version string) bool {
	t, err := time.Parse("2006-01-02 15:04:05.999999999 -0700 MST", version)
	return err == nil && !t.IsZero() && !t.After(l.now)
}

// ended is a version as it is once the holds that are over have ended.
func (l *life) ended(version string) string {
	before, rest, found := strings.Cut(version, " held=")
	hold, after, _ := strings.Cut(rest, " warned=")
	_, times, _ := strings.Cut(hold, "/")
	end, _, _ := strings.Cut(times, "/")
	until, err := strconv.ParseInt(end, 10, 64)
	if !found || err != nil || until < 0 || until > index.Micros(l.now) {
		return version
	}
	return before + " held=no warned=" + after
}

func (l *life) allowed(k deliveryKey, versions []string, have string) bool {
	versions = slices.Clone(versions)
	for i := range versions {
		versions[i] = l.ended(versions[i])
	}
	if slices.Contains(versions, have) || slices.ContainsFunc(l.memory[k], func(v string) bool { return l.ended(v) == have }) || have != "" && slices.Contains(versions, unseen) || l.inFlight(k) {
		return true
	}
	marking := slices.ContainsFunc(l.flights(), func(f flight) bool { return f.mark })
	return marking && slices.Contains(versions, strings.Replace(have, "marked=true", "marked=false", 1))
}

// flights are what calls may have done of which nobody knows whether they did.
func (l *life) flights() []flight { return append(slices.Clone(l.refused), l.flight...) }

// inFlight reports whether one of these may have changed a delivery.
func (l *life) inFlight(k deliveryKey) bool {
	for _, f := range l.flights() {
		if f.key == k || f.key.destination == "" && (f.key.id == k.id || f.key.id == "*") {
			return true
		}
	}
	return false
}

// compareNew looks at messages that nobody was told of: only those under way or refused
// may be there, each once and with all its deliveries.
func (l *life) compareNew(held map[deliveryKey]string) error {
	fresh := map[string][]deliveryKey{}
	for k := range held {
		if _, known := l.content[k.id]; !known {
			fresh[k.id] = append(fresh[k.id], k)
		}
	}
	flights := l.flights()
	for id, keys := range fresh {
		text, err := readContent(l.s, id)
		if err != nil {
			return fmt.Errorf("content of %s, which nobody was told of: %w", id, err)
		}
		i := slices.IndexFunc(flights, func(f flight) bool { return f.content != "" && f.content == text })
		if i < 0 {
			return fmt.Errorf("a message that nobody put: %v", keys)
		}
		if len(keys) != flights[i].destinations {
			return fmt.Errorf("half a message: %v, want %d", keys, flights[i].destinations)
		}
		flights = slices.Delete(flights, i, i+1)
		l.content[id] = text
		for _, k := range keys {
			l.known[k] = []string{held[k]}
		}
	}
	return nil
}

// accounts checks that the index counts what it holds.
func (l *life) accounts() error {
	x := l.s.index
	var deliveries int
	var bytes int64
	messages, _, _ := x.List(nil, 0, x.Messages(), "")
	refs := map[uint16]index.Refs{}
	for _, number := range messages {
		slots, _ := x.Slots(nil, number, 0, 1<<30)
		deliveries += len(slots)
		for i, slot := range slots {
			e := x.Get(slot)
			if i == 0 {
				bytes += int64(e.Size)
			}
			h := refs[e.Home]
			h.Homes++
			refs[e.Home] = h
			r := refs[e.Record.Segment]
			r.Records++
			refs[e.Record.Segment] = r
		}
	}
	if x.Len() != deliveries || x.Messages() != len(messages) || x.Bytes() != bytes {
		return fmt.Errorf("counts %d deliveries of %d messages with %d bytes, has %d of %d with %d",
			x.Len(), x.Messages(), x.Bytes(), deliveries, len(messages), bytes)
	}
	for slot, want := range refs {
		if got := x.Refs(slot); got.Homes != want.Homes || got.Records != want.Records {
			return fmt.Errorf("segment slot %d has %+v, want %+v", slot, got, want)
		}
	}
	return nil
}

// compareWithoutCheckpoint opens a copy of the disk whose checkpoints are gone:
// what is there must not depend on them. Only a flush may be forgotten, which
// makes a delivery due later and nothing else, and a settlement that is in memory
// only and in the checkpoint.
func (l *life) compareWithoutCheckpoint() error {
	want, err := l.holding(l.s)
	if err != nil {
		return err
	}
	fs := l.fs.Copy()
	if err := withoutCheckpoints(fs); err != nil {
		return err
	}
	s, err := openByHand(fs, l.o)
	if err != nil {
		return fmt.Errorf("open without checkpoint: %w", err)
	}
	if err := s.endHolds(context.Background(), l.now); err != nil {
		return err
	}
	got, err := l.holding(s)
	if err != nil {
		return fmt.Errorf("without checkpoint: %w", err)
	}
	for k := range got {
		if _, known := want[k]; !known {
			return fmt.Errorf("without checkpoint %v comes back", k)
		}
	}
	for k, v := range want {
		forgotten := slices.ContainsFunc(l.memory[k], func(v string) bool { return withoutDue(l.ended(v)) == withoutDue(got[k]) })
		if withoutDue(got[k]) != withoutDue(v) && !forgotten {
			return fmt.Errorf("without checkpoint %v is %q, with it %q", k, got[k], v)
		}
	}
	if err := l.sameOutcomes(s); err != nil {
		return fmt.Errorf("without checkpoint: %w", err)
	}
	return s.Close()
}

func withoutCheckpoints(fs *crashfs.FS) error {
	list, err := fs.List()
	if err != nil {
		return err
	}
	for _, f := range list {
		if strings.HasPrefix(f.Name, checkpointPrefix) {
			if err := fs.Remove(f.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func withoutDue(v string) string {
	f := strings.SplitN(v, " ", 5)
	if len(f) == 5 {
		f[2], f[3] = "", ""
	}
	return strings.Join(f, " ")
}
