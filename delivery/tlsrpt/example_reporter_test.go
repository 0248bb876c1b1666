package tlsrpt_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// What was counted can be read at any time, reports or not.
func ExampleCounts() {
	var counts tlsrpt.Counts
	policy := &tlsrpt.Policy{Type: tlsrpt.STS, Strings: []string{"version: STSv1", "mode: enforce", "mx: mx.example.com", "max_age: 86400"}}
	counts.Add("example.com", policy)
	counts.Add("example.com", policy, tlsrpt.Failure{Result: tlsrpt.CertificateExpired, Host: "mx.example.com"})

	for _, t := range counts.Tallies(tlsrpt.DayOf(time.Now())) {
		fmt.Println(t.Domain, t.Policy.Type, t.Successes, "ok,", t.Failures, "failed")
		for _, d := range t.Details {
			fmt.Println(d.Result, d.Host, d.Sessions)
		}
	}
	// Output:
	// example.com sts 1 ok, 1 failed
	// certificate-expired mx.example.com 1
}

// printer is a Mailer that prints where reports go. A *delivery.Agent is one that sends
// them.
type printer struct{ out *strings.Builder }

func (p printer) Submit(_ context.Context, m *queue.Message) (string, error) {
	fmt.Fprintf(p.out, "%v a report to %s\n", time.Now().UTC().Format(time.DateTime), m.Recipients[0].Address)
	return "1", nil
}

func (printer) Signs() bool { return true }

// The report of a day is sent in the hours after it. In virtual time, that is at once.
func TestReporterInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		counts := &tlsrpt.Counts{}
		reporter := &tlsrpt.Reporter{
			Counts:    counts,
			Submitter: tlsrpt.Submitter{Organization: "Example", Contact: "tls-reports@example.org"},
			Resolver:  &mxtest.DNS{Zone: `_smtp._tls.example.com TXT "v=TLSRPTv1; rua=mailto:tls@example.com"`},
			Mail:      printer{&out},
		}
		ctx, stop := context.WithTimeout(t.Context(), 48*time.Hour)
		defer stop()
		counts.Add("example.com", &tlsrpt.Policy{})
		if err := reporter.Run(ctx); err != context.DeadlineExceeded {
			t.Error(err)
		}
		if got := out.String(); !strings.HasPrefix(got, "2000-01-02 0") || !strings.HasSuffix(got, " a report to tls@example.com\n") {
			t.Errorf("printed is %q", got)
		}
	})
}
