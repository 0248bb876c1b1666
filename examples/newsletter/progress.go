package main

import (
	"fmt"
	"io"
	"sync"

	"github.com/schollz/progressbar/v3"

	"github.com/nexthop-mail/nexthop/delivery"
)

// progress counts outcomes, and draws a bar.
type progress struct {
	out  io.Writer
	bar  *progressbar.ProgressBar
	done chan struct{} // closed when all outcomes are known

	mu                                          sync.Mutex
	expected, delivered, failed, deferrals, old int
	all                                         bool // have been submitted
}

// newProgress has a bar for so many subscribers.
func newProgress(out io.Writer, subscribers int) *progress {
	return &progress{
		out: out, done: make(chan struct{}),
		bar: progressbar.NewOptions(subscribers, progressbar.OptionSetWriter(out), progressbar.OptionShowCount(),
			progressbar.OptionShowIts(), progressbar.OptionSetItsString("messages"), progressbar.OptionThrottle(100_000_000),
			progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth()),
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
	p.step()
}

// refuse notes an address that no mail can be sent to.
func (p *progress) refuse(to string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed++
	fmt.Fprintf(p.out, "\n%s: %v\n", to, err)
	p.step()
}

// say writes a line.
func (p *progress) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "\nnewsletter: %s\n", text)
}

// tell is an Events hook.
func (p *progress) tell(e delivery.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e.Kind {
	case delivery.Delivered:
		p.delivered++
		p.step()
	case delivery.Failed, delivery.Expired, delivery.Dropped:
		p.failed++
		p.step()
	case delivery.Deferred, delivery.UnknownOutcome:
		p.deferrals++
	}
	p.check()
}

func (p *progress) step() { _ = p.bar.Add(1) } // a bar that is full stays so

// allSubmitted records that the number of messages is final.
func (p *progress) allSubmitted() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = true
	p.check()
}

func (p *progress) check() {
	if !p.all || p.delivered+p.failed < p.expected {
		return
	}
	select {
	case <-p.done:
	default:
		close(p.done)
	}
}

// summary writes the result of the issue.
func (p *progress) summary() {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "\n%d delivered, %d failed, %d not yet, %d skipped; deferred %d times\n",
		p.delivered, p.failed, p.expected-p.delivered-p.failed, p.old, p.deferrals)
}
