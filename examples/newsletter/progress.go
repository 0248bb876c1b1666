package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/nexthop-mail/nexthop/delivery"
)

// progress counts outcomes, and draws a bar.
type progress struct {
	out    io.Writer
	bar    *progressbar.ProgressBar
	agent  *delivery.Agent
	before delivery.Counts // of the agent
	ended  chan struct{}   // closed to end draw
	drawn  chan struct{}   // closed when draw has ended

	mu                     sync.Mutex
	expected, refused, old int
}

// newProgress has a bar for so many subscribers, with the agent's outcomes from now on.
func newProgress(out io.Writer, subscribers int, agent *delivery.Agent) *progress {
	p := &progress{
		out: out, agent: agent, before: agent.Stats().Counts, ended: make(chan struct{}), drawn: make(chan struct{}),
		bar: progressbar.NewOptions(subscribers, progressbar.OptionSetWriter(out), progressbar.OptionShowCount(),
			progressbar.OptionShowIts(), progressbar.OptionSetItsString("messages"),
			progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth()),
	}
	go p.draw()
	return p
}

// interval is how often the bar is drawn.
const interval = time.Second

// draw draws the bar until the end.
func (p *progress) draw() {
	defer close(p.drawn)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.show()
		case <-p.ended:
			return
		}
	}
}

// show draws the bar once.
func (p *progress) show() {
	settled, _ := p.settled()
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.bar.Set(min(settled+p.refused+p.old, p.bar.GetMax())) // a bar that cannot be drawn is none
}

// settled returns how many messages have their outcome, and the counts since the start.
func (p *progress) settled() (int, delivery.Counts) {
	counts := p.agent.Stats().Counts.Since(p.before)
	return int(counts.Settled() + counts[delivery.Dropped]), counts
}

// wait waits until every message that is expected has its outcome.
func (p *progress) wait(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		settled, _ := p.settled()
		p.mu.Lock()
		done := settled >= p.expected
		p.mu.Unlock()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// expect notes that outcomes are to come.
func (p *progress) expect(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected += n
}

// skip counts a subscriber who gets no message, or got it in an earlier run.
func (p *progress) skip() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.old++
}

// refuse notes an address that no mail can be sent to.
func (p *progress) refuse(to string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused++
	fmt.Fprintf(p.out, "\n%s: %v\n", to, err)
}

// say writes a line.
func (p *progress) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "\nnewsletter: %s\n", text)
}

// summary ends the bar and writes the result of the issue.
func (p *progress) summary() {
	close(p.ended)
	<-p.drawn
	p.show()
	settled, counts := p.settled()
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "\n%d delivered, %d failed, %d not yet, %d skipped; deferred %d times\n",
		counts[delivery.Delivered], settled-int(counts[delivery.Delivered])+p.refused, p.expected-settled, p.old,
		counts[delivery.Deferred]+counts[delivery.UnknownOutcome])
}
