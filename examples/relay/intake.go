package main

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/smtpd"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

// intake hands received messages to the agent.
type intake struct {
	agent  *delivery.Agent
	broken func(error) // told that the queue is of no use any more
}

// message takes a message: the answer is 250 only when the queue has it for good.
func (i *intake) message(ctx context.Context, t *smtpd.Transaction, content queue.Content) smtpd.Reply {
	id, err := i.agent.Submit(ctx, t.Message(content))
	if errors.Is(err, disk.ErrFailed) {
		i.broken(err)
	}
	return answer(id, err)
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
