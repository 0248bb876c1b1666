//go:build linux

package peers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// letterbox keeps the mail that is submitted.
type letterbox struct{ mails []*queue.Message }

func (l *letterbox) Submit(_ context.Context, m *queue.Message) (string, error) {
	l.mails = append(l.mails, m)
	return "1", nil
}

func (*letterbox) Signs() bool { return true }

// judgeOfReports reads a report by mail with the parsers of Python: strict about MIME, with
// a JSON reader that takes no key twice, and the grammar of RFC 8460 for the subject and
// the name of the file.
const judgeOfReports = `
import email, email.policy, gzip, ipaddress, json, re, sys
msg = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.strict)
def once(pairs):
    keys = [k for k, _ in pairs]
    assert len(keys) == len(set(keys)), keys
    return dict(pairs)
parts = list(msg.iter_parts())
for part in [msg] + parts:
    assert not part.defects, part.defects
    for value in part.values():
        assert not value.defects, (value, value.defects)
assert [p.get_content_type() for p in parts] == ["text/plain", "application/tlsrpt+gzip"], parts
report = json.loads(gzip.decompress(parts[1].get_payload(decode=True)).decode("utf-8"), object_pairs_hook=once)
domain = r"([a-z0-9-]+\.)+[a-z0-9-]+"
subject = r"Report Domain: (%s) Submitter: (%s) Report-ID: <([^@<> ]+@%s)>" % (domain, domain, domain)
s = re.fullmatch(subject, re.sub(r"\s+", " ", msg["Subject"]))
f = re.fullmatch(r"(%s)!(%s)!(\d+)!(\d+)(![A-Za-z0-9]+)?\.json\.gz" % (domain, domain), parts[1].get_filename())
for policy in report["policies"]:
    for failure in policy["failure-details"]:
        for key in ("sending-mta-ip", "receiving-ip"):
            if failure[key] is not None:
                assert str(ipaddress.ip_address(failure[key])) == failure[key], failure
print(json.dumps({
    "type": msg.get_content_type(), "report-type": msg.get_param("report-type"),
    "from": [a.addr_spec for a in msg["From"].addresses], "to": [a.addr_spec for a in msg["To"].addresses],
    "date": msg["Date"].datetime.isoformat(), "tls-required": msg["TLS-Required"],
    "domain": [msg["TLS-Report-Domain"], s[1], f[3]], "submitter": [msg["TLS-Report-Submitter"], s[3], f[1]],
    "id": [report["report-id"], s[5]], "times": [f[5], f[6]], "report": report,
}))
`

func TestReportsOfTLSForAnotherParser(t *testing.T) {
	var box letterbox
	addr := netip.MustParseAddr("2001:db8::1:0:0:1")
	synctest.Test(t, func(t *testing.T) {
		reporter := &tlsrpt.Reporter{
			Counts: &tlsrpt.Counts{}, Submitter: tlsrpt.Submitter{Organization: "Bücher & <Co>", Contact: `"tls reports"@bücher.test`},
			Resolver: &mxtest.DNS{Zone: `_smtp._tls.e.test TXT "v=TLSRPTv1; rua=mailto:%22tls%20reports%22@e.test"`}, Mail: &box,
		}
		ctx, stop := context.WithTimeout(t.Context(), 47*time.Hour)
		defer stop()
		for i := range 300 {
			reporter.Counts.Add("e.test", &tlsrpt.Policy{Type: tlsrpt.STS, Strings: []string{"version: STSv1", "x: \u202eé\x00"}, MX: []string{"*.e.test"}},
				tlsrpt.Failure{Result: tlsrpt.ValidationFailure, Reason: fmt.Sprintf("text %d \x1b[31m\u2028 é", i), Helo: "\xff", ReceivingIP: addr})
		}
		reporter.Counts.Add("e.test", &tlsrpt.Policy{})
		if err := reporter.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
	if len(box.mails) != 1 {
		t.Fatalf("%d reports", len(box.mails))
	}
	judge := exec.Command("/usr/bin/python3", "-c", judgeOfReports)
	judge.Stdin = bytes.NewReader(queue.BytesOf(box.mails[0].Content))
	var stderr bytes.Buffer
	judge.Stderr = &stderr
	out, err := judge.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, stderr.String(), queue.BytesOf(box.mails[0].Content)[:1000])
	}
	var verdict struct {
		Type, Date        string
		ReportType        string `json:"report-type"`
		From, To          []string
		TLSRequired       string `json:"tls-required"`
		Domain, Submitter []string
		ID, Times         []string
		Report            json.RawMessage
	}
	if err := json.Unmarshal(out, &verdict); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for what, c := range map[string]struct{ got, want any }{
		"TLS-47 type":      {[]string{verdict.Type, verdict.ReportType, verdict.TLSRequired}, []string{"multipart/report", "tlsrpt", "No"}},
		"TLS-47 addresses": {append(verdict.From, verdict.To...), []string{`"tls reports"@xn--bcher-kva.test`, `"tls reports"@e.test`}},
		"TLS-47 domain":    {verdict.Domain, []string{"e.test", "e.test", "e.test"}},
		"TLS-47 submitter": {verdict.Submitter, []string{"xn--bcher-kva.test", "xn--bcher-kva.test", "xn--bcher-kva.test"}},
		"TLS-46 times":     {verdict.Times, []string{"946684800", "946771199"}},
		"TLS-46 date":      {strings.HasPrefix(verdict.Date, "2000-01-02T0"), true},
		"TLS-45 id":        {verdict.ID[0], verdict.ID[1]},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %v, want %v", what, c.got, c.want)
		}
	}
	report, err := tlsrpt.ParseReport(verdict.Report)
	if err != nil || report.Policies[1].Summary.Failed != 300 || len(report.Policies[1].FailureDetails) != 257 || report.OrganizationName != "Bücher & <Co>" {
		t.Errorf("TLS-45 what Python has read is %+v, %v", report, err)
	}
}
