package delivery

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/clock"
	"github.com/nexthop-mail/nexthop/delivery/internal/events"
	"github.com/nexthop-mail/nexthop/delivery/internal/goroutine"
	"github.com/nexthop-mail/nexthop/delivery/internal/lease"
	"github.com/nexthop-mail/nexthop/delivery/internal/reports"
	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/delivery/internal/share"
	"github.com/nexthop-mail/nexthop/delivery/internal/sign"
	"github.com/nexthop-mail/nexthop/delivery/internal/trouble"
	"github.com/nexthop-mail/nexthop/delivery/internal/waiting"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// Agent delivers the mail in a queue until every recipient is settled: it retries by a
// schedule, keeps to limits, and sends reports about mail that cannot be delivered.
//
//	agent := &delivery.Agent{Queue: q, Sender: &delivery.Sender{Hello: "mail.example.org"}}
//	ended := make(chan error, 1)
//	go func() { ended <- agent.Run(ctx) }()
//	id, err := agent.Submit(ctx, &queue.Message{From: ..., Recipients: ..., Content: ...})
//
// Close the queue only when Run has returned. [queue.List] and [queue.Show] show the
// mail in it.
//
// Mail arrives, expires and becomes late by the wall clock. Small steps of that clock
// are followed. A jump of more than a minute, such as after a sleep of the machine, is
// reported ([ClockJump]). Mail that fell due in the meantime is sent. Mail that had
// arrived before the jump gets that much more time, so that no jump makes it expire or
// be reported late. If the clock was set back, intervals stay as they were.
//
// Set the fields before the first use and leave them alone afterwards; the Settings can
// be changed while mail flows, by Configure. Then all methods are safe for concurrent
// use.
type Agent struct {
	// Queue holds the mail. Required. Several agents may share one if its
	// implementation allows that.
	Queue queue.Queue

	// Sender makes the attempts. Default: the zero Sender. Run ends its kept
	// sessions when it returns.
	Sender *Sender

	// Settings can be replaced while mail flows, by Configure.
	Settings Settings

	// Reporter is this host's name in reports (RFC 3464 section 2.2.2). Default: the
	// Sender's Hello, or if that is empty, the machine's name. In a container that is
	// seldom a name to which replies can be sent, so set one of the two: reports of
	// delay come after four hours unless Settings.Warn says otherwise.
	Reporter string

	// Postmaster is the mailbox in the From field of reports. Default: postmaster at
	// Reporter.
	Postmaster string

	// Sign returns the content to queue instead of m.Content, for example with a DKIM
	// signature. It is called at Submit and for the agent's own reports, with content
	// that has CRLF line ends, and may be called concurrently. If it fails, Submit
	// refuses the message temporarily; a report is sent unsigned, and its event has the
	// error. If nil, contents stay as they are.
	Sign func(ctx context.Context, m *queue.Message) (queue.Content, error)

	// Bounce is called with the event of each failed recipient before the sender is
	// told about it. If it returns false, the recipient is left out of the report. In
	// this way hostile mail is not returned to an address that may be forged (RFC 5321
	// section 6.2). The event is also passed to Events in any case. If Bounce is nil or
	// panics, the sender is told. It is not called for reports of delay, which
	// Settings.Warn turns off.
	Bounce func(Event) bool

	// Events is called for everything that happens to mail, one call at a time and in
	// order, after it has been settled, whether or not the agent is running. Up to
	// 4,096 events wait for it. While that many wait, no further delivery begins and
	// Submit waits, so that events are lost only in a crash. A program that must not
	// miss an outcome has the queue keep them (queue.OutcomesAfter). If Events calls
	// Submit, it must pass on the context, or one made from it: such a Submit does not
	// wait for the hook that it was called by. It may be nil.
	Events func(context.Context, Event)

	// Panic is called with the value of a panic in one of the application's hooks, on
	// the goroutine that panicked and while its stack still exists. If the hook decides
	// about a delivery, that delivery is deferred; otherwise, as with a Trace, it
	// continues. No hook may end its goroutine (runtime.Goexit), as testing.T.Fatal does:
	// what it was asked about would wait for ever. It may be nil.
	Panic func(v any)

	// Lease is how long a delivery is claimed at a time; it is extended before it ends.
	// If an agent dies, its mail waits at most that long before other agents on the
	// same queue deliver it. Default: 15 min. Minimum: 30 s.
	Lease time.Duration

	// Drain is how long deliveries in flight may continue after Run's context has
	// ended. Default: 30 s. Run may take 3 s more.
	Drain time.Duration

	// MaxHops is the largest number of Received fields in a message at Submit (RFC 5321
	// section 6.3). Default: 100.
	MaxHops int

	// MaxSize is the largest content that Submit accepts, in octets in the form in
	// which it is sent. Default: 50 MiB. If negative, there is no limit.
	MaxSize int64

	// MaxReturn is the largest message, in octets, that is returned whole to a sender
	// who asked for that (RET=FULL, RFC 3461 section 4.3). Only the header of a longer
	// one is returned. Default: 64 KiB. If negative, no message is returned whole.
	MaxReturn int64

	clock  clock.Clock
	events events.Queue[Event]
	counts counter
	told   reports.Told // of delays
	fresh  attempt.Submitted
	wake   goroutine.Signal

	settings atomic.Pointer[Settings] // in force, with defaults; nil before the first use

	mu     sync.Mutex
	atWork *run
	zero   Sender // where Sender is nil
}

// run is a running agent, from the beginning of Run to its end: a scheduler that
// decides, and the goroutines that carry out its decisions. Run waits for all of them.
type run struct {
	agent  *Agent
	queue  queue.Queue
	sender *Sender

	work      context.Context // of deliveries under way; outlives Run's context by the drain
	cut       func()          // ends it
	owner     string          // of parked mail
	untilIdle bool            // it ends when nothing is due
	trouble   trouble.Calls

	suspended waiting.Suspensions
	learning  sync.Mutex       // of those who ask the queue about suspensions
	stale     goroutine.Signal // what is known about them may have changed

	leases  lease.Table
	follows chan struct{} // has room for the one who follows the wall clock
	jumped  time.Time     // of that one: when a jump ahead was noticed that is not followed yet

	gate   *session.Gate
	shares *share.Set       // nil if the queue has none
	demand goroutine.Signal // a limit may need another share

	settler settler
	keys    siteKeys
	dns     trouble.DNS
	network trouble.Network
	watcher watcher
	workers goroutine.Pool
	stir    goroutine.Signal // the scheduler wants a claim, or the run is to end

	unreadable map[lease.Key]bool // reported; of the claims alone

	mu      sync.Mutex
	sched   *sched.Scheduler
	out     sched.Output
	parts   map[sched.ID]*part // those that are claimed and not settled
	lastID  sched.ID
	mails   []sched.Mail       // of the claim that is taken
	asking  map[string][]*part // by destination: routes that a goroutine is to ask for
	claim   *sched.Claim       // to be made
	timer   *time.Timer        // calls the scheduler at armed, unless that is zero
	armed   time.Time
	ended   bool
	failure error                // of the queue, for good
	sites   map[string]string    // by destination: where its mail went last
	took    map[string]time.Time // by site: when it last took or refused a message without asking for a login
}

// Defaults of an Agent.
const (
	defaultDrain     = 30 * time.Second
	defaultMaxHops   = 100
	defaultMaxSize   = 50 << 20
	defaultMaxReturn = 64 << 10
)

// Errors of Run.
var (
	errRunning = errors.New("delivery: the agent is running already")
	errNoQueue = errors.New("delivery.Agent.Queue: required")
)

// sender returns the Sender, or the zero one if there is none.
func (a *Agent) sender() *Sender {
	if a.Sender != nil {
		return a.Sender
	}
	return &a.zero
}

// current returns the settings in force, which must not be changed.
func (a *Agent) current() *Settings {
	if s := a.settings.Load(); s != nil {
		return s
	}
	s := a.Settings.withDefaults()
	a.settings.CompareAndSwap(nil, &s)
	return a.settings.Load()
}

// Wake makes a running agent look at its queue again, after another program has changed
// it.
func (a *Agent) Wake() { a.wake.Set() }

// time is the time for what happens at the door. If no Run is there to extend
// leases first, a clock that jumped ahead is followed at once.
func (a *Agent) time() clock.Time {
	at := a.clock.Read()
	if at.Behind > 0 && a.running() == nil {
		a.clock.Follow(at.Behind)
		return a.clock.Read()
	}
	return at
}

// running returns the current run, or nil if there is none.
func (a *Agent) running() *run {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.atWork
}

// leaseLength is for how long deliveries are claimed, and extended.
func (a *Agent) leaseLength() time.Duration {
	if a.Lease == 0 {
		return queue.DefaultLease
	}
	return a.Lease
}

// guard calls a hook of the application. If it panics, this is reported to Panic and
// has no other effect; ok is then false.
func (a *Agent) guard(hook func()) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			a.panicked(v)
		}
	}()
	hook()
	return true
}

// panicked tells the application of a panic in one of its hooks.
func (a *Agent) panicked(v any) {
	if a.Panic == nil {
		return
	}
	defer func() { _ = recover() }() // the hook about panics may not panic either
	a.Panic(v)
}

// Signs reports whether there is a Sign hook, which TLS reports by mail need (package
// tlsrpt).
func (a *Agent) Signs() bool { return a.Sign != nil }

// sign asks the Sign hook for the content to queue in place of m's.
func (a *Agent) sign(ctx context.Context, m *queue.Message) (queue.Content, error) {
	c, err := sign.Hook{Call: a.Sign, Guard: a.guard}.Sign(ctx, m)
	if err == nil && c == nil {
		err = attempt.ErrNoContent
	}
	return c, err
}

// note takes events for the application. It does not wait.
func (a *Agent) note(list ...Event) {
	a.counts.add(list)
	if a.events.Add(list...) {
		go a.events.Serve(a.hook())
	}
}

// hook passes events to the application, and continues the work that waited for that.
func (a *Agent) hook() events.Hook[Event] {
	return events.Hook[Event]{
		Tell: func(ctx context.Context, e *Event) {
			if a.Events != nil {
				a.guard(func() { a.Events(ctx, *e) })
			}
		},
		Eased: func() {
			if r := a.running(); r != nil {
				r.heard()
			}
		},
	}
}

// site names the site of a route, by the settings in force.
func (r *run) site(route *mx.Route) string { return r.agent.current().siteOf(&r.keys, route) }

// expiry is when, by the wall clock, a delivery is given up: later than was said if
// that clock has jumped ahead since the message arrived.
func (r *run) expiry(d *queue.Delivery) time.Time {
	at := d.Message.Expires
	if at.IsZero() {
		at = d.Message.Arrived.Add(r.agent.current().Expire)
	}
	return at.Add(r.agent.clock.Moved(d.Message.Arrived))
}

// deadline is the time, by the wall clock, at which a delivery must be handled even if
// it cannot be sent: to expire, or for its sender to be told about the delay.
func (r *run) deadline(d *queue.Delivery) time.Time {
	at := r.expiry(d)
	if warn := r.warning(d); !d.Warned && !warn.IsZero() && warn.Before(at) {
		return warn
	}
	return at
}

// warning is the time at which the sender must be told about the delay; zero means
// never.
func (r *run) warning(d *queue.Delivery) time.Time {
	warn := r.agent.current().Warn
	if warn < 0 {
		return time.Time{}
	}
	return d.Message.Arrived.Add(warn).Add(r.agent.clock.Moved(d.Message.Arrived))
}

// warnDue reports whether the sender must be told about the delay now.
func (r *run) warnDue(d *queue.Delivery, now time.Time) bool {
	at := r.warning(d)
	return !d.Warned && !at.IsZero() && !at.After(now)
}
