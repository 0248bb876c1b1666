package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// MaxReport is the largest size of a report that is read, in octets after
// decompression.
const MaxReport = 32 << 20

var errTooLong = fmt.Errorf("it has more than %d octets", MaxReport)

// ParseReport reads a report, compressed or not. It accepts the forms that senders use:
// missing keys, one policy instead of a list of policies, numbers as text, several
// strings of a policy as one, or JSON within JSON. Unknown values are left empty. The
// words for types and results are those of the report, which need not be words of RFC
// 8460.
func ParseReport(data []byte) (*Report, error) {
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("tlsrpt: the report cannot be unpacked: %w", err)
		}
		if data, err = io.ReadAll(io.LimitReader(z, MaxReport+1)); err != nil {
			return nil, fmt.Errorf("tlsrpt: the report cannot be unpacked: %w", err)
		}
	}
	if len(data) > MaxReport {
		return nil, fmt.Errorf("tlsrpt: the report is too long: %w", errTooLong)
	}
	var w wireReport
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &w); err != nil {
		return nil, fmt.Errorf("tlsrpt: the report cannot be read: %w", err)
	}
	if w.Policies == nil {
		return nil, fmt.Errorf("tlsrpt: the report cannot be read: %w", errNoPolicies)
	}
	return w.report(), nil
}

var errNoPolicies = errors.New("it has no policies")

// wireReport is a report as it may be found.
type wireReport struct {
	Organization wireText `json:"organization-name"`
	DateRange    struct {
		Start wireTime `json:"start-datetime"`
		End   wireTime `json:"end-datetime"`
	} `json:"date-range"`
	Contact  wireText             `json:"contact-info"`
	ReportID wireText             `json:"report-id"`
	Policies wireList[wirePolicy] `json:"policies"`
}

type wirePolicy struct {
	Policy struct {
		Type   wireText    `json:"policy-type"`
		String wireStrings `json:"policy-string"`
		Domain wireText    `json:"policy-domain"`
		MXHost wireStrings `json:"mx-host"`
	} `json:"policy"`
	Summary struct {
		Successful wireCount `json:"total-successful-session-count"`
		Failed     wireCount `json:"total-failure-session-count"`
	} `json:"summary"`
	Details wireList[wireFailure] `json:"failure-details"`
}

type wireFailure struct {
	Result      wireText  `json:"result-type"`
	SendingIP   wireAddr  `json:"sending-mta-ip"`
	Host        wireText  `json:"receiving-mx-hostname"`
	Helo        wireText  `json:"receiving-mx-helo"`
	ReceivingIP wireAddr  `json:"receiving-ip"`
	Sessions    wireCount `json:"failed-session-count"`
	Info        wireText  `json:"additional-information"`
	Reason      wireText  `json:"failure-reason-code"`
}

func (w *wireReport) report() *Report {
	r := &Report{
		OrganizationName: string(w.Organization), ContactInfo: string(w.Contact), ReportID: string(w.ReportID),
		DateRange: DateRange{Start: time.Time(w.DateRange.Start), End: time.Time(w.DateRange.End)},
		Policies:  []PolicyResult{},
	}
	for i := range w.Policies {
		from := &w.Policies[i]
		p := PolicyResult{
			Policy: ReportedPolicy{
				Type: string(from.Policy.Type), Domain: string(from.Policy.Domain),
				String: append([]string{}, from.Policy.String...), MXHost: append([]string{}, from.Policy.MXHost...),
			},
			Summary:        Summary{Successful: uint64(from.Summary.Successful), Failed: uint64(from.Summary.Failed)},
			FailureDetails: []ReportedFailure{},
		}
		for _, d := range from.Details {
			p.FailureDetails = append(p.FailureDetails, ReportedFailure{
				ResultType: string(d.Result), SendingMTAIP: reported(netip.Addr(d.SendingIP)), ReceivingMXHostname: string(d.Host),
				ReceivingMXHelo: string(d.Helo), ReceivingIP: reported(netip.Addr(d.ReceivingIP)), FailedSessionCount: uint64(d.Sessions),
				AdditionalInformation: string(d.Info), FailureReasonCode: string(d.Reason),
			})
		}
		r.Policies = append(r.Policies, p)
	}
	return r
}

// wireText is text; any other value counts as "".
type wireText string

func (t *wireText) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*t = wireText(text)
	}
	return nil
}

// wireStrings is a list of strings, one string, several of them with line ends or commas
// between TLSA records, or such a list as JSON in a string.
type wireStrings []string

func (s *wireStrings) UnmarshalJSON(data []byte) error {
	var list []string
	if json.Unmarshal(data, &list) != nil {
		var one string
		if json.Unmarshal(data, &one) != nil || one == "" {
			return nil //nolint:nilerr // invalid values are left out
		}
		list = []string{one}
	}
	*s = []string{}
	s.add(list)
	return nil
}

// add takes strings apart. Each time that lists are in strings of lists doubles their
// backslashes, so that there are few.
func (s *wireStrings) add(list []string) {
	for _, one := range list {
		for line := range strings.Lines(one) {
			var inner []string
			if line = strings.TrimRight(line, "\r\n"); strings.HasPrefix(line, "[") && json.Unmarshal([]byte(line), &inner) == nil {
				s.add(inner)
			} else if line != "" {
				*s = append(*s, line)
			}
		}
	}
}

// wireList is a list, or the one thing that would be in it.
type wireList[T any] []T

func (l *wireList[T]) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte("{")) {
		*l = make([]T, 1)
		return json.Unmarshal(data, &(*l)[0])
	}
	var list []T
	err := json.Unmarshal(data, &list)
	*l = list
	return err
}

// wireCount is a number, or a number as text; any other value counts as 0.
type wireCount uint64

func (c *wireCount) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		*c = wireCount(n)
	} else if f, err := strconv.ParseFloat(text, 64); err == nil && f >= 0 && f < 1<<53 {
		*c = wireCount(f)
	}
	return nil
}

// wireAddr is an address; any other value counts as none.
type wireAddr netip.Addr

func (a *wireAddr) UnmarshalJSON(data []byte) error {
	if addr, err := netip.ParseAddr(strings.Trim(string(data), `" []`)); err == nil {
		*a = wireAddr(addr.Unmap().WithZone(""))
	}
	return nil
}

// wireTime is a time in the form of RFC 3339, or without its zone.
type wireTime time.Time

func (t *wireTime) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `" `)
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", time.DateTime, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			if at = at.UTC(); at.Year() >= 0 && at.Year() <= 9999 { // otherwise it could not be written again
				*t = wireTime(at)
			}
			return nil
		}
	}
	return nil
}
