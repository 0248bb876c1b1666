package dane

import (
	"slices"
	"strings"
)

// Verdicts are kept in reports, and in events that wait. These are the limits of what a
// Verdict keeps of a domain's records and a host's certificates. Before that, all of them
// are compared.
const (
	mostRecords = 16
	mostData    = 8192 // octets in these records
	mostShown   = 8    // certificates
	mostNames   = 16   // of a certificate
	mostText    = 256  // octets of a name
)

// fitting returns how many of the first records are kept.
func fitting(records []Record) int {
	data := 0
	for i := range records {
		if data += len(records[i].Data); data > mostData || i == mostRecords {
			return i
		}
	}
	return len(records)
}

// bounded returns the policy as a Verdict keeps it.
func (p *Policy) bounded() *Policy {
	n := fitting(p.Records)
	if n == len(p.Records) {
		return p
	}
	short := *p
	short.Records, short.Omitted = slices.Clone(p.Records[:n]), len(p.Records)-n
	return &short
}

// keep keeps the first of all records, as they were judged, and of the others one that says
// why the verdict is as it is: the one that matched, or the first that was not tried.
func (v *Verdict) keep(all []Record) {
	n := fitting(all)
	v.Records = slices.Clone(all[:n])
	i := slices.IndexFunc(all, func(r Record) bool { return r.Fate == Matched || r.Fate == NotTried && v.Matched == nil })
	if i >= n {
		v.Records = append(v.Records, all[i])
		i = n
	}
	if v.Matched != nil {
		v.Matched = &v.Records[i]
	}
}

// cut returns at most the beginning of a text.
func cut(text string) string {
	if len(text) > mostText {
		return strings.ToValidUTF8(text[:mostText], "") + "..."
	}
	return text
}
