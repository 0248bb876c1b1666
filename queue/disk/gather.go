package disk

import "time"

// gather decides whether a batch waits for more tickets. The callers that the last
// batch has just woken usually come again in a moment, and share a sync if the batch
// waits for them. So it waits for as many tickets as there were, for at most the time
// of a sync. If they come too late more often than once in three times, more and more
// batches do not wait. It uses events and a timer, because a leader that polls would
// keep the callers from running. The lock of the line is held for all calls.
type gather struct {
	expected int           // how many tickets the next batch may have
	patience time.Duration // how long it waits for them at most
	timer    *time.Timer   // runs while it waits
	skip     int           // batches that do not wait
	lost     int           // how many will not when it is given up once more
}

// The bounds of patience, and of the batches that do not wait.
const (
	maxPatience = 2 * time.Millisecond
	maxSkip     = 64
)

// expect receives the batch that was just saved, those in line, and the time the device
// took.
func (g *gather) expect(done *batch, line []*batch, took time.Duration) {
	g.expected, g.patience = len(done.tickets), min(took, maxPatience)
	if len(line) > 0 {
		g.expected += len(line[0].tickets)
	}
	if g.skip > 0 {
		g.skip--
		g.expected = 0
	}
}

// waits reports whether a batch with so many tickets is to wait for more. After
// a while late is called, unless waits has reported false by then.
func (g *gather) waits(tickets int, late func()) bool {
	if tickets < g.expected {
		if g.timer == nil {
			g.timer = time.AfterFunc(g.patience, late)
		}
		return true
	}
	if g.timer != nil {
		g.timer.Stop()
		g.timer, g.lost = nil, max(0, g.lost-1)
	}
	return false
}

// giveUp ends the waiting: too few have come.
func (g *gather) giveUp() {
	if g.timer == nil {
		return
	}
	g.timer = nil
	g.expected, g.skip = 0, g.lost
	g.lost = min(2*g.lost+2, maxSkip) // more than one success makes up for
}
