package delivery_test

import (
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestRecordThatCannotBeRead: a host behind a record that cannot be read may take what
// all the others refuse, so that nothing they say as hosts is final.
func TestRecordThatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		fault mxtest.Fault
		want  queue.Outcome
	}{"one of two": {mxtest.LastBroken, queue.Deferred}, "none": {mxtest.None, queue.Failed}} {
		t.Run("MX-21, SMTP-2 "+name, func(t *testing.T) {
			refusing := func() *smtptest.Host {
				return &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "554 5.3.2 no mail here"}}}
			}
			in := (&smtptest.Internet{
				Zone:  "$ORIGIN e.test.\n@ MX 10 a\n@ MX 20 b\na A 198.51.100.1\nb A 198.51.100.2\n",
				Hosts: map[string]*smtptest.Host{"a.e.test": refusing(), "b.e.test": refusing()},
			}).Start(t)
			dns := &mxtest.DNS{
				Zone:  "$ORIGIN e.test.\n@ MX 10 a\n@ MX 20 b\na A 198.51.100.1\nb A 198.51.100.2\n",
				Rules: []mxtest.Rule{{Name: "e.test", Type: mx.TypeMX, Fault: c.fault}},
			}
			s := &delivery.Sender{Hello: "from.test", Resolver: dns, Dial: in.DialContext}
			defer s.Close()
			report, err := s.Send(t.Context(), &queue.Message{
				Content: queue.String("Subject: x\r\n\r\nx\r\n"), Recipients: []queue.Recipient{{Address: "u@e.test"}},
			})
			if got := report.Recipients[0].Outcome; got != c.want {
				t.Errorf("outcome is %v, want %v; %v", got, c.want, err)
			}
		})
	}
}
