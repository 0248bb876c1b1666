package tlsrpt_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
)

// oneFailure is a report with one policy and one failure.
func oneFailure() *tlsrpt.Report {
	addr := netip.MustParseAddr("2001:db8::1")
	return &tlsrpt.Report{
		OrganizationName: "Company-X", ContactInfo: "tls@x.test", ReportID: "5065427c",
		DateRange: tlsrpt.DateRange{Start: time.Date(2016, 4, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2016, 4, 1, 23, 59, 59, 0, time.UTC)},
		Policies: []tlsrpt.PolicyResult{{
			Policy:  tlsrpt.ReportedPolicy{Type: "sts", Domain: "y.test", String: []string{"version: STSv1", "mode: testing"}, MXHost: []string{"*.y.test"}},
			Summary: tlsrpt.Summary{Successful: 5326, Failed: 303},
			FailureDetails: []tlsrpt.ReportedFailure{{
				ResultType: "certificate-expired", SendingMTAIP: &addr, ReceivingMXHostname: "mx1.y.test", FailedSessionCount: 100,
			}},
		}},
	}
}

const asTheRFC = `{
 "organization-name": "Company-X", "contact-info": "tls@x.test", "report-id": "5065427c",
 "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
 "policies": [{
  "policy": {"policy-type": "sts", "policy-string": ["version: STSv1", "mode: testing"], "policy-domain": "y.test", "mx-host": ["*.y.test"]},
  "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
  "failure-details": [{"result-type": "certificate-expired", "sending-mta-ip": "2001:db8:0::1", "receiving-mx-hostname": "mx1.y.test",
   "failed-session-count": 100}]
 }]}`

func TestReportsAsSendersMakeThem(t *testing.T) {
	swap := func(pairs ...string) string {
		text := strings.NewReplacer(pairs...).Replace(asTheRFC)
		if text == asTheRFC {
			t.Fatalf("%q changes nothing", pairs)
		}
		return text
	}
	for _, test := range []struct{ name, text string }{
		{"as the RFC has them", asTheRFC},
		{"a byte order mark", "\ufeff" + asTheRFC},
		{"one policy that is no list", swap(`"policies": [{`, `"policies": {`, " }]}", " }}")},
		{"one failure that is no list", swap(`"failure-details": [{`, `"failure-details": {`, "100}]", "100}")},
		{"a policy in one string", swap(`["version: STSv1", "mode: testing"]`, `["version: STSv1\r\nmode: testing\r\n"]`)},
		{"a policy that is no list", swap(`["version: STSv1", "mode: testing"]`, `"version: STSv1\nmode: testing"`)},
		{"a policy as JSON in a string", swap(`["version: STSv1", "mode: testing"]`, `["[\"version: STSv1\",\"mode: testing\"]"]`)},
		{"a pattern that is no list", swap(`["*.y.test"]`, `"*.y.test"`)},
		{"numbers as text", swap("5326", `"5326"`, "303", `"303"`, "100}", `"100"}`)},
		{"numbers with a fraction", swap("5326", `5326.0`)},
		{"a number that is none", swap(`100}`, `100, "receiving-mx-helo": 7, "additional-information": null}`)},
		{"no address", swap(`100}`, `100, "receiving-ip": ""}`)},
		{"an address of null", swap(`100}`, `100, "receiving-ip": null}`)},
		{"an address that is none", swap(`100}`, `100, "receiving-ip": "mx1.y.test"}`)},
		{"brackets around an address", swap(`"2001:db8:0::1"`, `"[2001:db8::1]"`)},
		{"times without a zone", swap(`00Z"`, `00"`, `59Z"`, `59"`)},
		{"times of another zone", swap(`T00:00:00Z"`, `T02:00:00+02:00"`)},
		{"keys that nobody knows", swap(`"policies"`, `"x": {"y": [1]}, "policies"`)},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := tlsrpt.ParseReport([]byte(test.text))
			if err != nil || !reflect.DeepEqual(got, oneFailure()) {
				t.Errorf("read is %+v, %v", got, err)
			}
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = z.Write([]byte(test.text))
			_ = z.Close()
			if again, err := tlsrpt.ParseReport(b.Bytes()); err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("compressed it is %+v, %v", again, err)
			}
		})
	}
}

func TestReportsWithoutMostKeys(t *testing.T) {
	got, err := tlsrpt.ParseReport([]byte(`{"policies": [{"summary": {}, "failure-details": null}, {"policy": {"policy-type": "new"}, "failure-details": [{}]}]}`))
	if err != nil || len(got.Policies) != 2 || got.Policies[1].Policy.Type != "new" || len(got.Policies[1].FailureDetails) != 1 || got.Policies[0].FailureDetails == nil {
		t.Errorf("read is %+v, %v", got, err)
	}
}

func TestWhatIsNoReport(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	zeros := make([]byte, 1<<20)
	for range tlsrpt.MaxReport/len(zeros) + 1 {
		_, _ = z.Write(zeros)
	}
	_ = z.Close()
	for name, data := range map[string][]byte{
		"nothing": nil, "no JSON": []byte("report"), "a list": []byte("[]"), "null": []byte("null"), "an object": []byte("{}"),
		"no policies": []byte(`{"policies": null}`), "policies of another kind": []byte(`{"policies": "none"}`),
		"half a gzip": bomb.Bytes()[:100], "a gzip header": {0x1f, 0x8b}, "more than anybody needs": bomb.Bytes(),
	} {
		if r, err := tlsrpt.ParseReport(data); err == nil || !strings.HasPrefix(err.Error(), "tlsrpt: the report") {
			t.Errorf("%s is %+v, %v", name, r, err)
		}
	}
}

// FuzzReport: what can be read can be written, and read again as the same.
func FuzzReport(f *testing.F) {
	f.Add([]byte(asTheRFC))
	f.Add([]byte(`{"policies": {"policy": {"policy-string": "[\"a\"]", "mx-host": "x\ny"}, "summary": {"total-failure-session-count": "1e3"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := tlsrpt.ParseReport(data)
		if err != nil {
			return
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := tlsrpt.ParseReport(text)
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("written and read again, %+v is %+v, %v", r, again, err)
		}
	})
}
