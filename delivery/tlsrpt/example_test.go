package tlsrpt_test

import (
	"context"
	"fmt"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// The words of delivery/dane and delivery/mtasts are those of RFC 8460, too.
func ExampleParseResult() {
	result, ok := tlsrpt.ParseResult("certificate-expired")
	fmt.Println(result, ok, result == tlsrpt.CertificateExpired)
	// Output: certificate-expired true true
}

// A report covers a day of UTC.
func ExampleParseDay() {
	day, err := tlsrpt.ParseDay("2026-11-30")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(day.Start(), "to", day.End())
	// Output: 2026-11-30 00:00:00 +0000 UTC to 2026-11-30 23:59:59 +0000 UTC
}

// The day of a time is that of UTC, wherever the clock stands.
func ExampleDayOf() {
	day, _ := tlsrpt.ParseDay("2026-11-30")
	fmt.Println(tlsrpt.DayOf(day.Start()), tlsrpt.DayOf(day.End()))
	// Output: 2026-11-30 2026-11-30
}

// What cannot be understood is passed over, and said.
func ExampleParseRecord() {
	record, err := tlsrpt.ParseRecord([]string{"v=spf1 -all", "v=TLSRPTv1; rua=mailto:tls@example.com,ftp://example.com/"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, target := range record.Targets {
		fmt.Println(target.Kind, target.Address)
	}
	for _, note := range record.Notes {
		fmt.Println(note)
	}
	// Output:
	// mailto tls@example.com
	// rua ftp://example.com/: reports go by mailto and https
}

// Where a domain wants its reports is in DNS.
func ExampleLookup() {
	dns := &mxtest.DNS{Zone: `_smtp._tls.example.com TXT "v=TLSRPTv1; rua=https://tls.example.com/v1"`}
	record, err := tlsrpt.Lookup(context.Background(), dns, "example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(record.Targets[0].URI)
	// Output: https://tls.example.com/v1
}

// Reports of others can be read, as they come.
func ExampleParseReport() {
	report, err := tlsrpt.ParseReport([]byte(`{
		"organization-name": "Company-X", "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
		"policies": [{
			"policy": {"policy-type": "sts", "policy-domain": "company-y.example"},
			"summary": {"total-successful-session-count": 5326, "total-failure-session-count": 100},
			"failure-details": [{"result-type": "certificate-expired", "receiving-mx-hostname": "mx1.company-y.example", "failed-session-count": 100}]
		}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.OrganizationName, tlsrpt.DayOf(report.DateRange.Start))
	for _, p := range report.Policies {
		fmt.Println(p.Policy.Type, p.Policy.Domain, p.Summary.Successful, p.Summary.Failed)
		for _, d := range p.FailureDetails {
			fmt.Println(d.ResultType, d.ReceivingMXHostname, d.FailedSessionCount)
		}
	}
	// Output:
	// Company-X 2016-04-01
	// sts company-y.example 5326 100
	// certificate-expired mx1.company-y.example 100
}
