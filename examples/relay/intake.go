package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/smtpd"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

// intake hands received messages to the agent.
type intake struct {
	agent      *delivery.Agent
	sender     *delivery.Sender
	postmaster string
	broken     func(error) // told that the queue is of no use any more
	complain   func(about string, err error)
	deleted    sync.Once // complained of
}

// message takes a message: the answer is 250 only when the queue has it for good.
func (i *intake) message(ctx context.Context, t *smtpd.Transaction, content queue.Content) smtpd.Reply {
	m := t.Message(content)
	id, err := i.keepForPostmaster(ctx, m)
	if err == nil && len(m.Recipients) > 0 {
		id, err = i.agent.Submit(ctx, m)
	}
	if errors.Is(err, disk.ErrFailed) {
		i.broken(err)
	}
	if errors.Is(err, disk.ErrDeleted) {
		i.deleted.Do(func() { i.complain("-queue", err) })
	}
	return answer(id, err)
}

// keepForPostmaster removes the postmaster from the recipients if there is no route to
// him: no address was given for him, and this host has no mailboxes. Such mail is not
// returned to its senders; it is held in the queue, for an administrator to find
// ("relay queue list", and release once there is a route).
func (i *intake) keepForPostmaster(ctx context.Context, m *queue.Message) (id string, err error) {
	isHis := func(r queue.Recipient) bool { return r.Address == i.postmaster }
	at := slices.IndexFunc(m.Recipients, isHis)
	if at < 0 {
		return "", nil
	}
	e, _ := errors.AsType[*delivery.Error](i.sender.Routable(ctx, m.From, i.postmaster))
	if e == nil || e.Temporary() {
		return "", nil
	}
	kept := *m
	kept.Recipients = []queue.Recipient{m.Recipients[at]}
	kept.NotBefore = time.Now().Add(time.Hour) // not before it is held
	if id, err = i.agent.Submit(ctx, &kept); err != nil {
		return "", err
	}
	m.Recipients = slices.DeleteFunc(slices.Clone(m.Recipients), isHis)
	_ = i.agent.Hold(ctx, id) // else it is tried after an hour, and its sender told
	return id, nil
}

// answer is the reply to a message that was submitted.
func answer(id string, err error) smtpd.Reply {
	bad, _ := errors.AsType[*delivery.Error](err)
	switch {
	case err == nil:
		return smtpd.Reply{Code: 250, Enhanced: "2.0.0", Text: "queued as " + id}
	case bad != nil && !bad.Temporary():
		return smtpd.Reply{Code: refusalCode(bad.Enhanced), Enhanced: bad.Enhanced, Text: bad.Reason()}
	case errors.Is(err, disk.ErrFailed), errors.Is(err, queue.ErrClosed), errors.Is(err, context.Canceled):
		return smtpd.Reply{Code: 451, Enhanced: "4.3.0", Text: "not now"}
	case errors.Is(err, queue.ErrFull), noRoom(err):
		return smtpd.Reply{Code: 452, Enhanced: "4.3.1", Text: "no room"}
	default:
		return smtpd.Reply{Code: 451, Enhanced: "4.3.0", Text: "the message could not be stored"}
	}
}

func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// refusalCode is the reply code that goes with an enhanced one.
func refusalCode(enhanced string) int {
	switch {
	case enhanced == "5.3.4":
		return 552
	case strings.HasPrefix(enhanced, "5.1."):
		return 553
	default:
		return 554
	}
}
