package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
)

var errNotAsTold = errors.New("not as told")

// claim is a line of the summary: the statement, whether it holds, and what was found
// instead.
type claim struct {
	text  string
	holds bool
	found string
}

// claims are all of them, in the order of the story.
type claims struct{ list []claim }

func (c *claims) add(text string, holds bool, found string, args ...any) {
	c.list = append(c.list, claim{text, holds, fmt.Sprintf(found, args...)})
}

// same is a claim that two lists are the same.
func (c *claims) same(text string, got, want []string) {
	c.add(text, slices.Equal(got, want), "%q", got)
}

// check prints them, and answers with errNotAsTold if one does not hold.
func (c *claims) check(t *teller) error {
	t.chapter("Checked")
	var err error
	for i := range c.list {
		t.checked(&c.list[i])
		if !c.list[i].holds {
			err = errNotAsTold
		}
	}
	return err
}

// took is the claim that the recipient of a report was taken by a host.
func (c *claims) took(text string, r *delivery.RecipientReport, host string) {
	c.add(text, r.Outcome == queue.Delivered && r.Host == host, "%v by %q", r.Outcome, r.Host)
}

// fellThrough is the claim that a host refused the connection and another took the
// message.
func (c *claims) fellThrough(text string, r *delivery.RecipientReport, down, up string) {
	var tried []string
	for i := range r.Attempts {
		a := &r.Attempts[i]
		if a.Err != nil {
			tried = append(tried, fmt.Sprintf("%s failed at %s", a.Host, a.Err.Stage))
		}
	}
	holds := r.Outcome == queue.Delivered && r.Host == up && slices.Equal(tried, []string{down + " failed at connect"})
	c.add(text, holds, "%v by %q after %q", r.Outcome, r.Host, tried)
}

// has is the claim that a host has one more message than before, with the text
// octet for octet; relayed, below one Received field of mx2.
func (c *claims) has(text string, h *host, before int, content string, relayed bool) {
	messages := h.Messages()
	if n := len(messages) - before; n != 1 {
		c.add(text, false, "%d new messages", n)
		return
	}
	got := string(messages[before].Content)
	trace, whole := strings.CutSuffix(got, content)
	fields := strings.Count(trace, "Received: ")
	holds := whole && (relayed && fields == 1 && strings.Contains(trace, "by "+relayName+" ") || !relayed && trace == "")
	c.add(text, holds, "%q", got)
}
