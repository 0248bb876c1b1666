package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
)

// print prints the result for every recipient, in the order of the arguments.
func (o *options) print(w io.Writer, report *delivery.Report) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range report.Recipients {
		r := &report.Recipients[i]
		if o.json {
			_ = enc.Encode(r) // if standard output is closed, nobody can be told
			continue
		}
		printForPerson(w, r)
	}
}

func addrString(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// printForPerson is a line for the outcome and one for each step before it.
func printForPerson(w io.Writer, r *delivery.RecipientReport) {
	steps := r.Attempts
	if r.Outcome == queue.Delivered && len(steps) > 0 {
		steps = steps[:len(steps)-1]
	}
	for i := range steps {
		if steps[i].Err != nil {
			fmt.Fprintf(w, "  %v: %s\n", steps[i].Err, steps[i].Next)
		}
	}
	fmt.Fprintf(w, "%s: %s", r.Address, r.Outcome)
	if r.Outcome == queue.Delivered {
		fmt.Fprintf(w, " to %s (%s), TLS %s: %d %s\n", r.Host, addrString(r.Addr), r.TLS, r.Reply.Code, oneLine(r.Reply.Text))
		return
	}
	fmt.Fprintf(w, ": %s [%s]\n", r.Err.Reason(), r.Err.Enhanced)
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " ") }

// refusal is the report of an envelope that was refused at the door: the bad
// addresses have failed, the others wait for a better command line.
func refusal(m *queue.Message, err error) *delivery.Report {
	report := &delivery.Report{}
	for _, r := range m.Recipients {
		one := *m
		one.Recipients = []queue.Recipient{r}
		rr := delivery.RecipientReport{
			Address: r.Address,
			Reply:   queue.Reply{Enhanced: "4.0.0", Text: "not sent: " + err.Error()},
		}
		if bad := delivery.ValidateEnvelope(&one); bad != nil {
			rr.Outcome, rr.Reply.Enhanced, rr.Reply.Text = queue.Failed, "5.1.3", bad.Error()
		}
		report.Recipients = append(report.Recipients, rr)
	}
	return report
}
