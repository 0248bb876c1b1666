package tlsrpt

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// Report is the report to a domain about a day (RFC 8460 section 4.4). Its JSON form
// has every key of that section: unknown text is "", and an unknown address is null,
// since readers that expect an address refuse "".
type Report struct {
	OrganizationName string         `json:"organization-name"`
	DateRange        DateRange      `json:"date-range"`
	ContactInfo      string         `json:"contact-info"`
	ReportID         string         `json:"report-id"`
	Policies         []PolicyResult `json:"policies"`
}

// DateRange is the time that a report covers.
type DateRange struct {
	Start time.Time `json:"start-datetime"`
	End   time.Time `json:"end-datetime"`
}

// PolicyResult has the counts for one policy.
type PolicyResult struct {
	Policy         ReportedPolicy    `json:"policy"`
	Summary        Summary           `json:"summary"`
	FailureDetails []ReportedFailure `json:"failure-details"`
}

// ReportedPolicy is the policy that was applied. In reports made by this package, Type
// is one of the words of PolicyType; in reports that are read, it may be any word.
type ReportedPolicy struct {
	Type   string   `json:"policy-type"`
	String []string `json:"policy-string"`
	Domain string   `json:"policy-domain"`
	MXHost []string `json:"mx-host"`
}

// Summary has the numbers of sessions.
type Summary struct {
	Successful uint64 `json:"total-successful-session-count"`
	Failed     uint64 `json:"total-failure-session-count"`
}

// ReportedFailure is the number of sessions with the same failure. In reports made by
// this package, ResultType is one of the words of Result; ParseResult parses it.
type ReportedFailure struct {
	ResultType            string      `json:"result-type"`
	SendingMTAIP          *netip.Addr `json:"sending-mta-ip"`
	ReceivingMXHostname   string      `json:"receiving-mx-hostname"`
	ReceivingMXHelo       string      `json:"receiving-mx-helo"`
	ReceivingIP           *netip.Addr `json:"receiving-ip"`
	FailedSessionCount    uint64      `json:"failed-session-count"`
	AdditionalInformation string      `json:"additional-information"`
	FailureReasonCode     string      `json:"failure-reason-code"`
}

// reported is an address of a report; nil is null.
func reported(addr netip.Addr) *netip.Addr {
	if !addr.IsValid() {
		return nil
	}
	return &addr
}

// Submitter is the organization that sends reports.
type Submitter struct {
	// Organization is its name. Default: the domain of Contact.
	Organization string

	// Contact is the address for questions about reports, and the sender of reports by
	// mail; required. Its domain is the submitter's name in file names and header
	// fields.
	Contact string
}

// Domain returns the domain of Contact in canonical form, or "" if Contact is not a
// valid address.
func (s Submitter) Domain() string {
	box, err := address.Parse(s.Contact)
	if _, literal := box.Domain().Literal(); err != nil || literal {
		return ""
	}
	return box.Domain().String()
}

// address is Contact with its domain in canonical form.
func (s Submitter) address() string {
	if box, err := address.Parse(s.Contact); err == nil {
		if plain, ok := box.Key().ASCII(); ok {
			return plain
		}
	}
	return s.Contact
}

// Report makes the report of a domain about a day. All tallies must be of that domain.
func (s Submitter) Report(day Day, domain string, tallies []Tally) *Report {
	r := &Report{
		OrganizationName: cmp.Or(s.Organization, s.Domain()), ContactInfo: s.address(), ReportID: s.reportID(day, domain),
		DateRange: DateRange{Start: day.Start(), End: day.End()}, Policies: []PolicyResult{},
	}
	for i := range tallies {
		t := &tallies[i]
		p := PolicyResult{
			Policy: ReportedPolicy{
				Type: t.Policy.Type.String(), Domain: cmp.Or(t.Policy.Domain, domain),
				String: append([]string{}, t.Policy.Strings...), MXHost: append([]string{}, t.Policy.MX...),
			},
			Summary: Summary{Successful: t.Successes, Failed: t.Failures}, FailureDetails: []ReportedFailure{},
		}
		for _, d := range t.Details {
			p.FailureDetails = append(p.FailureDetails, ReportedFailure{
				ResultType: d.Result.String(), SendingMTAIP: reported(d.SendingIP), ReceivingMXHostname: d.Host, ReceivingMXHelo: d.Helo,
				ReceivingIP: reported(d.ReceivingIP), FailedSessionCount: d.Sessions, AdditionalInformation: d.Info,
				FailureReasonCode: d.Reason,
			})
		}
		r.Policies = append(r.Policies, p)
	}
	return r
}

// reportID returns the id of the report of a day and a domain. It is the same each
// time, so that a second copy can be recognised.
func (s Submitter) reportID(day Day, domain string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%v %s %s", day, domain, s.address()))
	return fmt.Sprintf("%v.%s@%s", day, hex.EncodeToString(sum[:8]), s.Domain())
}

// filename is the name of the file of a report (RFC 8460 section 5.1).
func (s Submitter) filename(day Day, domain string) string {
	return fmt.Sprintf("%s!%s!%d!%d.json.gz", s.Domain(), domain, day.Start().Unix(), day.End().Unix())
}

// JSON returns the report as it is sent, before compression.
func (r *Report) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// compressed is the report as it is sent (RFC 8460 section 5.2).
func (r *Report) compressed() ([]byte, error) {
	text, err := r.JSON()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(text); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
