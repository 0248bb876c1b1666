package index

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// The tests of this file do the same at random to an index and to lists: every answer
// must be the same, and what the index counts must be true. With NEXTHOP_LONG there are
// more of them, and what fails is told as a story as short as can be.

func TestModelOfFewDeliveries(t *testing.T)    { fewDeliveries.random(t, 0, 1) }
func TestModelOfFewDestinations(t *testing.T)  { fewDestinations.random(t, 0, 1) }
func TestModelOfManyDestinations(t *testing.T) { manyDestinations.random(t, 0, 1) }
func TestModelOfManyTenants(t *testing.T)      { manyTenants.random(t, 0, 1) }

// TestModels is more of each.
func TestModels(t *testing.T) {
	seeds := uint64(4)
	if long() {
		seeds = 1000
	}
	for _, w := range []world{fewDeliveries, fewDestinations, manyDestinations, manyTenants} {
		w.random(t, 1, seeds)
	}
}

func long() bool { return os.Getenv("NEXTHOP_LONG") != "" }

var (
	fewDeliveries    = world{destinations: 3, tenants: 4, many: 30, back: true}
	fewDestinations  = world{destinations: 2, tenants: 12, many: 120}
	manyDestinations = world{destinations: 40, tenants: 3, many: 100}
	manyTenants      = world{destinations: 6, tenants: 200, many: 80, back: true}
)

// world is what the random steps are like.
type world struct {
	destinations, tenants int
	many                  int  // how many deliveries there are, about
	back                  bool // the clock goes back, too
}

// random does the steps of some seeds.
func (w world) random(t *testing.T, from, to uint64) {
	t.Helper()
	for seed := from; seed < to; seed++ {
		rng := rand.New(rand.NewPCG(seed, uint64(w.destinations)))
		steps := make([]uint64, 700)
		for i := range steps {
			steps[i] = rng.Uint64()
		}
		story, err := w.run(steps)
		if err == nil {
			continue
		}
		if long() {
			story, err = w.run(w.shrink(steps))
		}
		for _, line := range story[max(0, len(story)-50):] {
			t.Log(line)
		}
		t.Fatalf("%+v, seed %d: %v", w, seed, err)
	}
}

// shrink leaves out what a failure does not need.
func (w world) shrink(steps []uint64) []uint64 {
	for size := len(steps) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(steps); {
			less := slices.Delete(slices.Clone(steps), at, at+size)
			if _, err := w.run(less); err != nil {
				steps = less
			} else {
				at += size
			}
		}
	}
	return steps
}

// run does steps, each of which is the seed of what it does.
func (w world) run(steps []uint64) (story []string, err error) {
	p := &pair{world: w, x: New(), m: newModel(), now: time.UnixMicro(1e15).UTC(), size: map[uint64]uint32{}}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v\n%s", r, debug.Stack())
		}
		story = p.story
	}()
	for i, seed := range steps {
		p.rng = rand.New(rand.NewPCG(seed, 0))
		p.step()
		p.m.tidy()
		if i%4 == 0 || len(steps) < 50 {
			p.fail(p.x.verify())
		}
		if i%8 == 0 || len(steps) < 50 {
			p.compare()
		}
		if p.err != nil {
			return p.story, fmt.Errorf("after %d steps: %w", len(p.story), p.err)
		}
	}
	return p.story, nil
}

// pair is an index and its model.
type pair struct {
	world
	x       *Index
	m       *model
	rng     *rand.Rand
	now     time.Time
	last    uint64 // ordinal
	token   uint64
	size    map[uint64]uint32 // of the contents
	story   []string
	err     error
	beside  bool     // another step is in progress
	flushes bool     // which is a flush
	parks   []string // destinations that were parked beside it

	arrival *Arrival
	coming  []*modeled // what has been added of it
}

func (p *pair) tell(format string, args ...any) {
	p.story = append(p.story, fmt.Sprintf(format, args...))
}

func (p *pair) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *pair) want(ok bool, format string, args ...any) {
	if !ok {
		p.fail(fmt.Errorf(format, args...))
	}
}

func (p *pair) oneIn(n int) bool { return p.rng.IntN(n) == 0 }

func (p *pair) name() string { return fmt.Sprintf("d%d", p.rng.IntN(p.destinations)) }

func (p *pair) tenant() string { return fmt.Sprint(p.rng.IntN(p.tenants)) }

func (p *pair) owner() string { return fmt.Sprint("agent", p.rng.IntN(3)) }

// soon is a time about now.
func (p *pair) soon() time.Time {
	return p.now.Add(time.Duration(p.rng.IntN(60)-20)*time.Microsecond + time.Duration(p.rng.IntN(3)*400))
}

func (p *pair) place() Place { return Place{uint16(p.rng.IntN(4)), uint32(p.rng.IntN(100))} }

// any is one of the deliveries that can be found, nil if there is none.
func (p *pair) any() *modeled {
	if len(p.m.list) == 0 {
		return nil
	}
	if e := p.m.list[p.rng.IntN(len(p.m.list))]; !e.hidden {
		return e
	}
	return nil
}

// entry is what becomes of a delivery of a message at a destination.
func (p *pair) entry(message uint64, destination string) Entry {
	e := Entry{
		Message: message, Destination: destination, Tenant: p.tenant(), Priority: p.rng.IntN(3) - 1, AtOnce: p.oneIn(2),
		Since: Micros(p.now) + p.rng.Int64N(60) - 40, Home: uint16(p.rng.IntN(4)), Record: p.place(), Size: p.size[message],
	}
	if p.oneIn(3) { // as others of another priority are
		e.Since += int64(p.rng.IntN(3)-1) * queue.PriorityStep.Microseconds()
	}
	if p.oneIn(8) {
		e.Flags |= Held
	}
	if p.oneIn(4) {
		e.Flags |= AtMostOnce
	}
	if p.oneIn(4) {
		e.Flags |= Marked
	}
	if Ordinal(message)%3 == 0 {
		e.Flags |= InFile
	}
	return e
}

// number is that of a new message, of few or many destinations.
func (p *pair) number() uint64 {
	p.last++
	n := Number(p.last, []int{1, 3, 8, 40, 255, 256, 4000, 1 << 20}[p.rng.IntN(8)])
	p.size[n] = uint32(p.rng.IntN(1000))
	return n
}

// some are different destinations.
func (p *pair) some(most int) []string {
	list := make([]string, 0, most)
	for range 1 + p.rng.IntN(most) {
		if name := p.name(); !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// step does something.
func (p *pair) step() {
	if !p.beside {
		least := 0
		if p.back && p.oneIn(4) {
			least = -40
		}
		p.now = p.now.Add(time.Duration(least+p.rng.IntN(12))*time.Microsecond + time.Duration(p.rng.IntN(3)*300))
	}
	n := p.rng.IntN(32)
	switch {
	case n < 5 && len(p.m.list) < p.many || len(p.m.list) == 0 && n < 16:
		p.add()
	case n < 9:
		if !p.beside {
			p.claim()
		}
	case n < 10:
		if !p.beside {
			p.advance()
			break
		}
		at := p.soon()
		p.tell("at %v", at)
		p.x.At(at)
		p.m.now = Micros(at)
	case n < 11:
		if !p.beside {
			p.claimBeside()
		}
	case n < 13:
		if !p.flushes {
			p.flush()
		}
	case n < 14:
		if !p.beside {
			p.flushBeside()
		}
	case n < 16:
		p.arrive()
	case n < 19:
		p.postponements()
	case n < 22:
		p.park()
	default:
		if e := p.any(); e != nil {
			e.changes++
			p.change(e)
		}
	}
}
