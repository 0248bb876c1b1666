package delivery

import (
	"context"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/queue"
)

// Send makes one attempt to deliver m to all its recipients and reports what
// became of each. The error is nil exactly when every recipient was delivered;
// otherwise it is an *Error, the report's Err. The report is never nil.
//
// When ctx ends, so does the attempt: what had not reached its final dot was
// not sent and is deferred; what waits for the reply to it is unknown.
func (s *Sender) Send(ctx context.Context, m *queue.Message) (*Report, error) {
	report := newReport(m)
	job := s.job(ctx, m, &attempt.Options{})
	defer job.Release()
	found := new(results)
	if refused := job.Accept(); refused != nil {
		found.report(report, job.Results())
		return report, found.error(refused)
	}
	s.deliver(ctx, m, job)
	found.report(report, job.Results())
	return report, report.Err()
}

// job begins one attempt at a message.
func (s *Sender) job(ctx context.Context, m *queue.Message, options *attempt.Options) *attempt.Job {
	s.once.Do(s.prepare)
	return s.attempts.Job(m, s.tracesOf(ctx), options)
}

// Close ends the kept sessions with QUIT and waits for them, at most as long as
// the QUIT timeout. A closed Sender still sends; it keeps nothing.
func (s *Sender) Close() error {
	s.sessions.Close()
	return nil
}

// tracesOf are the hooks that apply to one call.
func (s *Sender) tracesOf(ctx context.Context) *traces {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	list := [2]*Trace{s.Trace, t}
	if list == [2]*Trace{} {
		return &s.untraced
	}
	ts := &traces{list: list}
	ts.guard, _ = ctx.Value(guardKey{}).(func(hook func()) bool)
	return ts
}
