package attempt

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// DefaultRecipients is how many recipients one transaction has where the host
// states no limit: what every server must take (RFC 5321 section 4.5.3.1.8).
const DefaultRecipients = 100

// maxRecipients is how many recipients a host takes in one transaction
// (RFC 9422 section 4.2).
func maxRecipients(s *session.Session) int {
	if n := s.Extensions().Limits.RcptMax; n > 0 {
		return min(n, maxBatch)
	}
	return DefaultRecipients
}

// maxBatch bounds a transaction whatever a host claims to take.
const maxBatch = 5000

// transact offers the message to the batch in one transaction.
func (w *Walk) transact(ctx context.Context, h *session.Hop, sess *session.Session) result {
	began := time.Now()
	w.compose(sess)
	res := sess.Send(ctx, &w.tx)
	w.findings = slices.Grow(w.findings[:0], len(w.batch))[:len(w.batch)]
	clear(w.findings)
	out := result{
		findings:    w.findings,
		reachedMail: res.Mail.Code != 0,
		stale:       res.Stale,
		unknown:     res.Unknown,
		doubt:       res.Doubt,
		failed:      res.Err != nil && res.Err.Kind != smtp.Unfit && res.Err.Kind != smtp.Local && res.Err.Kind != smtp.Exhausted,
	}
	out.timed(h, &res, began)
	switch {
	case res.MaybeSent:
		out.lost = w.maybeTaken(h, res.Err)
		return out
	case h.Spare(res.Doubt.Now, w.needsExtensions()) != 0 && nothingSettled(&res):
		out.instead = w.job.config.judge(h, res.Err)
		return out
	}
	for i := range res.Rcpts {
		f, r := &out.findings[i], &res.Rcpts[i]
		w.find(f, h, sess, r)
		if f.err != nil {
			f.doubted = res.Doubt.Next
		}
		ended := res.Err != nil && r.Err == res.Err
		if ended || r.Stage == smtp.StageMail {
			out.whole = f
		}
		if f.refusesContent(r.Reply.Enhanced) {
			out.content = f
		}
	}
	return out
}

// timed records the durations of the stages of a transaction. Those of its connection
// belong to the first transaction.
func (r *result) timed(h *session.Hop, res *smtp.Result, began time.Time) {
	r.began, r.ended = began, time.Now()
	r.stages, h.Took = h.Took, session.Stages{}
	if !h.Dialled.IsZero() {
		r.began, h.Dialled = h.Dialled, time.Time{}
	}
	end := r.ended
	if at := res.AwaitedAt; !at.IsZero() {
		r.stages.Reply = end.Sub(at)
		end = at
	}
	if at := res.ContentAt; !at.IsZero() {
		r.stages.Content = end.Sub(at)
		end = at
	}
	r.stages.Mail = end.Sub(began)
}

// nothingSettled reports whether the loss of the session is the only result for every
// recipient: none of them has had an answer, and they can be offered again.
func nothingSettled(res *smtp.Result) bool {
	return !slices.ContainsFunc(res.Rcpts, func(r smtp.RcptResult) bool {
		return r.State != smtp.Failed && r.State != smtp.NotTried
	})
}

// compose is the message as one SMTP transaction for the batch.
func (w *Walk) compose(sess *session.Session) {
	j, m := w.job, w.job.message
	w.to = slices.Grow(w.to[:0], len(w.batch))[:len(w.batch)]
	for i, r := range w.batch {
		given := &m.Recipients[r.index]
		w.to[i] = smtp.Rcpt{
			To: r.mailbox, Notify: notifyParam(given.Notify),
			OriginalType: given.OriginalType, Original: given.Original,
		}
	}
	body, notConverted := j.bodyFor(sess)
	w.tx = smtp.Transaction{
		From:         j.from,
		To:           w.to,
		Body:         body,
		EightBit:     body.EightBit,
		NotConverted: notConverted,
		UTF8:         j.utf8 && body.UTF8Header,
		RequireTLS:   w.saysRequireTLS(sess),
		EnvelopeID:   m.EnvelopeID,
		Submitter:    m.Submitter,
		Return:       returnParam(m.Return),
		Encrypted:    w.policy.Level >= mx.TLSEncrypt,
		Wait:         m.Guarantee == queue.AtMostOnce,
		Commit:       j.Commit,
	}
	if body.EightBit {
		w.tx.Convertible = j.convertible
	}
}

// saysRequireTLS reports whether MAIL must have the parameter: always for a message
// that requires it, and for a report if the host meets its conditions.
func (w *Walk) saysRequireTLS(sess *session.Session) bool {
	if w.job.tls != queue.TLSRequired {
		return false
	}
	return w.job.requiresTLS() ||
		w.vouched && sess.Protection.Level >= mx.TLSVerify && sess.Extensions().RequireTLS
}

func returnParam(r queue.Return) string {
	switch r {
	case queue.ReturnFull:
		return "FULL"
	case queue.ReturnHeaders:
		return "HDRS"
	default:
		return ""
	}
}

func notifyParam(n queue.Notify) string {
	if n&queue.NotifyNever != 0 {
		return "NEVER"
	}
	var words []string
	for _, w := range []struct {
		bit  queue.Notify
		word string
	}{{queue.NotifySuccess, "SUCCESS"}, {queue.NotifyFailure, "FAILURE"}, {queue.NotifyDelay, "DELAY"}} {
		if n&w.bit != 0 {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, ",")
}

// find fills in what a transaction meant for one recipient.
func (w *Walk) find(f *finding, h *session.Hop, sess *session.Session, r *smtp.RcptResult) {
	c := w.job.config
	switch r.State {
	case smtp.Delivered:
		*f = finding{tried: true, answered: true, verdict: Taken, reply: queue.Reply{
			Host: h.Host.Name, Addr: sess.Addr, Code: r.Reply.Code, Enhanced: r.Reply.Enhanced, Text: r.Reply.Text,
		}}
		return
	case smtp.Refused:
		f.err = c.replied(h, stageOf(r.Stage), &r.Reply)
		f.answered = true
	case smtp.Unknown:
		f.err = w.maybeTaken(h, r.Err)
	default:
		if r.Err == nil {
			return // a limit stood in the way: another transaction
		}
		f.err = c.judge(h, r.Err)
		f.answered = f.err.Verdict == HostRefuses || f.err.Replied()
	}
	f.tried, f.verdict, f.reply = true, f.err.Verdict, f.err.Reply()
}

// maybeTaken is that the message may have been taken.
func (w *Walk) maybeTaken(h *session.Hop, err *smtp.Error) *Failure {
	f := fail(h, StageContent, MaybeTaken, "4.4.2", err)
	f.AtMostOnce = w.job.message.Guarantee == queue.AtMostOnce
	return f
}
