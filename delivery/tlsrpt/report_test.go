package tlsrpt_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
)

// golden is a report with all kinds of things in it.
const golden = `{
 "organization-name": "Example Org",
 "date-range": {
  "start-datetime": "2026-11-30T00:00:00Z",
  "end-datetime": "2026-11-30T23:59:59Z"
 },
 "contact-info": "tls@send.test",
 "report-id": "REPORT-ID",
 "policies": [
  {
   "policy": {
    "policy-type": "no-policy-found",
    "policy-string": [],
    "policy-domain": "xn--bcher-kva.test",
    "mx-host": []
   },
   "summary": {
    "total-successful-session-count": 7,
    "total-failure-session-count": 1
   },
   "failure-details": [
    {
     "result-type": "starttls-not-supported",
     "sending-mta-ip": "2001:db8::1:0:0:1",
     "receiving-mx-hostname": "mx.xn--bcher-kva.test",
     "receiving-mx-helo": "mx<1>",
     "receiving-ip": "192.0.2.1",
     "failed-session-count": 1,
     "additional-information": "https://x.test/?a&b",
     "failure-reason-code": "starttls-not-offered"
    }
   ]
  },
  {
   "policy": {
    "policy-type": "sts",
    "policy-string": [
     "version: STSv1",
     "mode: testing",
     "mx: mx1.test",
     "mx: mx2.test",
     "max_age: 604800"
    ],
    "policy-domain": "xn--bcher-kva.test",
    "mx-host": [
     "mx1.test",
     "mx2.test"
    ]
   },
   "summary": {
    "total-successful-session-count": 0,
    "total-failure-session-count": 2
   },
   "failure-details": [
    {
     "result-type": "sts-policy-fetch-error",
     "sending-mta-ip": null,
     "receiving-mx-hostname": "",
     "receiving-mx-helo": "",
     "receiving-ip": null,
     "failed-session-count": 2,
     "additional-information": "",
     "failure-reason-code": "http-status-404"
    }
   ]
  },
  {
   "policy": {
    "policy-type": "tlsa",
    "policy-string": [
     "3 1 1 AB",
     "3 1 1 CD"
    ],
    "policy-domain": "mx1.test",
    "mx-host": []
   },
   "summary": {
    "total-successful-session-count": 3,
    "total-failure-session-count": 0
   },
   "failure-details": []
  }
 ]
}`

// goldenTallies are what golden says.
func goldenTallies() []tlsrpt.Tally {
	const domain = "xn--bcher-kva.test"
	return []tlsrpt.Tally{
		{Domain: domain, Policy: tlsrpt.Policy{Domain: domain}, Successes: 7, Failures: 1, Details: []tlsrpt.Detail{{Failure: tlsrpt.Failure{
			Result: tlsrpt.StartTLSNotSupported, SendingIP: netip.MustParseAddr("2001:DB8:0:0:1:0:0:1"), Host: "mx." + domain, Helo: "mx<1>",
			ReceivingIP: netip.MustParseAddr("192.0.2.1"), Info: "https://x.test/?a&b", Reason: "starttls-not-offered",
		}, Sessions: 1}}},
		{Domain: domain, Policy: tlsrpt.Policy{
			Type: tlsrpt.STS, MX: []string{"mx1.test", "mx2.test"},
			Strings: []string{"version: STSv1", "mode: testing", "mx: mx1.test", "mx: mx2.test", "max_age: 604800"},
		}, Failures: 2, Details: []tlsrpt.Detail{{Failure: tlsrpt.Failure{Result: tlsrpt.STSFetchError, Reason: "http-status-404"}, Sessions: 2}}},
		{Domain: domain, Policy: tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: "mx1.test", Strings: []string{"3 1 1 AB", "3 1 1 CD"}}, Successes: 3},
	}
}

func TestReportHasAllKeysOfTheRFC(t *testing.T) {
	day, err := tlsrpt.ParseDay("2026-11-30")
	if err != nil {
		t.Fatal(err)
	}
	who := tlsrpt.Submitter{Organization: "Example Org", Contact: "tls@send.test"}
	report := who.Report(day, "xn--bcher-kva.test", goldenTallies())
	text, err := report.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", " "); err != nil {
		t.Fatal(err)
	}
	t.Run("TLS-45 I18N-14 every key is there, and lists are lists", func(t *testing.T) {
		if got := strings.TrimSpace(strings.Replace(b.String(), report.ReportID, "REPORT-ID", 1)); got != golden {
			t.Errorf("report is\n%s", got)
		}
	})
	t.Run("TLS-45 it is read as what it says", func(t *testing.T) {
		if again, err := tlsrpt.ParseReport(text); err != nil || !reflect.DeepEqual(again, report) {
			t.Errorf("read is %+v, %v", again, err)
		}
	})
	t.Run("TLS-45 the id is that of the day, the domain and the submitter", func(t *testing.T) {
		same := who.Report(day, "xn--bcher-kva.test", nil).ReportID
		if same != report.ReportID || !strings.HasSuffix(same, "@send.test") {
			t.Errorf("ids are %q and %q", same, report.ReportID)
		}
		for _, other := range []string{
			who.Report(day+1, "xn--bcher-kva.test", nil).ReportID, who.Report(day, "e.test", nil).ReportID,
			tlsrpt.Submitter{Contact: "tls@other.test"}.Report(day, "xn--bcher-kva.test", nil).ReportID,
		} {
			if other == same {
				t.Errorf("another report has the id %q", other)
			}
		}
	})
	t.Run("TLS-45 without sessions there are no policies", func(t *testing.T) {
		text, err := tlsrpt.Submitter{Contact: "tls@bücher.test"}.Report(day, "e.test", nil).JSON()
		if err != nil || !strings.Contains(string(text), `"policies":[]`) || !strings.Contains(string(text), `"organization-name":"xn--bcher-kva.test"`) ||
			!strings.Contains(string(text), `"contact-info":"tls@xn--bcher-kva.test"`) {
			t.Errorf("report is %s, %v", text, err)
		}
	})
}
