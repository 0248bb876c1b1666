package disk

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// anyID is the id of a message that is there.
func (l *life) anyID() string {
	var ids []string
	for k, v := range l.known {
		if last(v) != "" {
			ids = append(ids, k.id)
		}
	}
	if len(ids) == 0 {
		return ""
	}
	slices.Sort(ids)
	return ids[l.rng.IntN(len(ids))]
}

// all records what the deliveries of a message have become.
func (l *life) all(id string) {
	for k := range l.known {
		if id == "" || k.id == id {
			if v := l.version(k); v != last(l.known[k]) {
				l.become(k, v)
			}
		}
	}
}

func (l *life) hold() error {
	id := l.anyID()
	if id == "" {
		return nil
	}
	do := l.s.Hold
	switch l.rng.IntN(4) {
	case 0:
		do = l.s.Release
	case 1, 2:
		do = func(ctx context.Context, id string) error {
			on := queue.Terms{Reason: fmt.Sprint("because-", l.serial)}
			if l.rng.IntN(3) > 0 {
				on.Until = l.now.Add(time.Duration(l.rng.IntN(60)) * time.Second)
			}
			return l.s.HoldUntil(ctx, l.now, id, on)
		}
	}
	l.flight = []flight{{key: deliveryKey{id: id}}}
	if err := do(context.Background(), id); err != nil {
		return err
	}
	l.flight = nil
	l.all(id)
	l.saved()
	return nil
}

// suspend suspends or resumes some of a few subjects.
func (l *life) suspend() error {
	subject := queue.Subject{Kind: queue.SubjectKind(l.rng.IntN(3)), Name: fmt.Sprint("s", l.rng.IntN(3))}
	one := queue.Suspension{Subject: subject, Terms: queue.Terms{Reason: fmt.Sprint("because-", l.serial)}}
	before := l.s.suspended
	var err error
	if l.rng.IntN(2) == 0 {
		after, _ := before.With(l.now, one)
		l.halted = append(l.halted, haltedOf(before), haltedOf(after))
		err = l.s.Suspend(context.Background(), l.now, one)
	} else {
		after, _ := before.Without(l.now, subject)
		l.halted = append(l.halted, haltedOf(before), haltedOf(after))
		_, err = l.s.Resume(context.Background(), l.now, subject)
	}
	if err != nil {
		return err
	}
	l.halted = l.halted[len(l.halted)-1:]
	return nil
}

func haltedOf(set queue.SuspensionSet) (text string) {
	for _, one := range set {
		text += fmt.Sprintf("%v %s %v %s;", one.Kind, one.Name, one.Since.UnixMicro(), one.Reason)
	}
	return text
}

func (l *life) drop() error {
	id := l.anyID()
	if id == "" {
		return nil
	}
	l.flight = []flight{{key: deliveryKey{id: id}}}
	l.dropped[id] = true
	if err := l.s.Drop(context.Background(), id); err != nil {
		return err
	}
	l.flight = nil
	l.all(id)
	l.saved()
	return nil
}

func (l *life) flush() error {
	l.flight = []flight{{key: deliveryKey{id: "*"}}}
	destination := fmt.Sprintf("d%d.example", l.rng.IntN(4))
	_, err := l.s.Flush(context.Background(), l.now, queue.Selection{Destination: destination})
	if err != nil {
		return err
	}
	l.flight = nil
	memory := maps.Clone(l.memory) // no record was written anew
	l.all("")
	maps.Copy(l.memory, memory)
	for k, versions := range l.known {
		if k.destination == destination {
			l.known[k] = append(l.flushed(versions), versions...)
		}
	}
	l.postponements()
	return nil
}

// flushed is what a flush makes of versions, if all that was written since is lost but the
// flush.
func (l *life) flushed(versions []string) (list []string) {
	for _, v := range versions {
		f := strings.SplitN(l.ended(v), " ", 5)
		if len(f) < 5 || f[2] == "true" || !strings.HasPrefix(f[4], "held=no") {
			continue
		}
		if due, err := strconv.ParseInt(f[3], 10, 64); err == nil && due > l.now.UnixMicro() {
			f[2], f[3] = "true", fmt.Sprint(l.now.UnixMicro())
			list = append(list, strings.Join(f, " "))
		}
	}
	return list
}

func (l *life) postponed() error {
	name := fmt.Sprintf("d%d.example", l.rng.IntN(4))
	l.flight = []flight{{key: deliveryKey{id: "*"}}}
	if err := l.s.Postpone(context.Background(), l.now, queue.Postponement{Destination: name, Until: l.now.Add(5 * time.Second)}); err != nil {
		return err
	}
	l.flight = nil
	l.postponements()
	return nil
}

func (l *life) postponements() {
	for n := range 4 {
		name := fmt.Sprintf("d%d.example", n)
		l.s.mu.Lock()
		until, _ := l.s.index.Postponed(name)
		l.s.mu.Unlock()
		if v := l.postpone[name]; len(v) == 0 {
			l.postpone[name] = []string{time.Time{}.String(), until.String()}
		} else if last(v) != until.String() {
			l.postpone[name] = append(v, until.String())
		}
	}
}

func readContent(s *Spool, id string) (string, error) {
	c, err := s.Open(context.Background(), id)
	if err != nil {
		return "", err
	}
	r, err := c.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	var b bytes.Buffer
	_, err = io.Copy(&b, r)
	return b.String(), err
}

// compact gives up any segment, whatever is in it.
func (l *life) compact() error {
	var list []*segment
	l.s.mu.Lock()
	for _, g := range l.s.segments.list {
		if g != nil && g != l.s.current && len(g.from) == 0 {
			list = append(list, g)
		}
	}
	l.s.rollNow = l.rng.IntN(4) == 0
	l.s.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	if err := l.s.compact(context.Background(), list[l.rng.IntN(len(list))]); err != nil {
		return err
	}
	l.saved()
	return nil
}
