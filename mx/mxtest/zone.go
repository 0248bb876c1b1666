package mxtest

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/miekg/dns"

	"github.com/nexthop-mail/nexthop/mx"
)

// defaultTTL is the TTL of records in text without $TTL, in seconds.
const defaultTTL = 300

// SyntaxError means that zone text cannot be read.
type SyntaxError struct {
	// Line is the number of the line in the text, starting at 1. Text is the line, without
	// indentation that all lines have.
	Line int
	Text string
	// Err is the parser's error.
	Err error
}

// Error names the line and what is wrong with it.
func (e *SyntaxError) Error() string {
	text := fmt.Sprintf("zone text, line %d: %s: %v", e.Line, strings.TrimSpace(e.Text), e.Err)
	if strings.TrimLeft(e.Text, " \t") != e.Text {
		text += "; a line that is indented more than others has no name of its own"
	}
	return text
}

// Unwrap returns Err.
func (e *SyntaxError) Unwrap() error { return e.Err }

// zone is zone text that has been read: the records of each name, and the names
// that exist because there are others below them. Names are canonical.
type zone struct {
	records map[string][]dns.RR
	exists  map[string]bool
	err     error
}

// readZone reads text; the zone's err is set where it cannot.
func readZone(text string) *zone {
	return parseZone(outdent(text), ".")
}

// readRecords reads the records of one name, without their owner.
func readRecords(name, text string) *zone {
	lines := strings.Split(outdent(text), "\n")
	for i, line := range lines {
		if strings.TrimSpace(line) != "" {
			lines[i] = "@ " + line
		}
	}
	return parseZone(strings.Join(lines, "\n"), name)
}

func parseZone(text, origin string) *zone {
	z := &zone{records: make(map[string][]dns.RR), exists: make(map[string]bool)}
	// Without its end the parser passes over a last line that is not complete.
	source := &lineReader{text: strings.TrimRight(text, "\n") + "\n"}
	parser := dns.NewZoneParser(source, dns.Fqdn(origin), "")
	parser.SetDefaultTTL(defaultTTL)
	wire := make([]byte, dns.MaxMsgSize)
	for rr, ok := parser.Next(); ok && z.err == nil; rr, ok = parser.Next() {
		if err := checkData(rr, wire); err != nil {
			z.err = source.blame(err)
		}
		z.add(rr)
	}
	if err := parser.Err(); err != nil && z.err == nil {
		z.err = source.blame(err)
	}
	return z
}

var errNoData = errors.New("a record without data")

// checkData refuses data that the parser accepts and that fits no message, such as bad
// hexadecimal, or that is empty. wire is space to try it in.
func checkData(rr dns.RR, wire []byte) error {
	if empty, known := dns.TypeToRR[rr.Header().Rrtype]; known {
		none := empty()
		*none.Header() = *rr.Header()
		if reflect.DeepEqual(rr, none) {
			return errNoData
		}
	}
	end, err := dns.PackRR(rr, wire, 0, nil, false)
	if err != nil {
		return err
	}
	_, owner, err := dns.UnpackDomainName(wire, 0)
	if err == nil && end == owner+10 { // type, class, TTL and length only
		err = errNoData
	}
	return err
}

// add puts a record in, and its owner and all names above it among those that
// exist.
func (z *zone) add(rr dns.RR) {
	name := canonical(rr.Header().Name)
	z.records[name] = append(z.records[name], rr)
	for z.exists[name] = true; name != ""; z.exists[name] = true {
		name = parent(name)
	}
}

// at returns the records of a name and whether the name exists; if it does not, those
// of a wildcard (RFC 4592 section 3.3.1).
func (z *zone) at(name string) (records []dns.RR, exists bool) {
	if z.exists[name] {
		return z.records[name], true
	}
	encloser := z.encloser(name)
	wild := "*"
	if encloser != "" {
		wild += "." + encloser
	}
	records = z.records[wild]
	return records, len(records) > 0
}

// encloser is the closest name above name that exists, or the root.
func (z *zone) encloser(name string) string {
	for name != "" {
		if name = parent(name); z.exists[name] {
			break
		}
	}
	return name
}

// soa is the SOA record of the closest zone that name is in; nil without one.
func (z *zone) soa(name string) *dns.SOA {
	for {
		for _, rr := range z.records[name] {
			if soa, ok := rr.(*dns.SOA); ok {
				return soa
			}
		}
		if name == "" {
			return nil
		}
		name = parent(name)
	}
}

// dname is the DNAME record of a name above, and what name becomes by it (RFC
// 6672 section 2.2).
func (z *zone) dname(name string) (record *dns.DNAME, target string, ok bool) {
	for above := name; above != ""; {
		above = parent(above)
		for _, rr := range z.records[above] {
			if record, ok := rr.(*dns.DNAME); ok {
				prefix := strings.TrimSuffix(strings.TrimSuffix(name, above), ".")
				return record, canonical(prefix + "." + strings.TrimSuffix(record.Target, ".")), true
			}
		}
	}
	return nil, "", false
}

// canonical is a name in lower case without its final dot; the root is "".
func canonical(name string) string {
	if strings.Contains(name, `\`) {
		name = unescaped(name)
	}
	return strings.TrimSuffix(dns.CanonicalName(name), ".")
}

// unescaped returns a name without needless escapes.
func unescaped(name string) string {
	wire := make([]byte, 256)
	if _, err := dns.PackDomainName(dns.Fqdn(name), wire, 0, nil, false); err != nil {
		return name
	}
	plain, _, err := dns.UnpackDomainName(wire, 0)
	if err != nil {
		return name
	}
	return plain
}

// parent is a canonical name without its first label.
func parent(name string) string {
	next, end := dns.NextLabel(name, 0)
	if end {
		return ""
	}
	return name[next:]
}

// typeOf is a record's type in our terms.
func typeOf(rr dns.RR) mx.Type { return mx.Type(rr.Header().Rrtype) }

// outdent removes the common indentation of all lines: tests write zones indented, but
// a blank at the start of a line means the owner of the previous record.
func outdent(text string) string {
	lines := strings.Split(text, "\n")
	margin, first := "", true
	for _, line := range lines {
		body := strings.TrimLeft(line, " \t")
		if strings.TrimSpace(body) == "" {
			continue
		}
		indent := line[:len(line)-len(body)]
		if first {
			margin, first = indent, false
		}
		for !strings.HasPrefix(indent, margin) {
			margin = margin[:len(margin)-1]
		}
	}
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, margin)
	}
	return strings.Join(lines, "\n")
}

// lineReader hands out text byte by byte and so knows how far the parser is.
type lineReader struct {
	text string
	read int
}

// ReadByte is the next byte of the text.
func (r *lineReader) ReadByte() (byte, error) {
	if r.read == len(r.text) {
		return 0, io.EOF
	}
	r.read++
	return r.text[r.read-1], nil
}

// Read is what an io.Reader must have; the parser reads by byte.
func (r *lineReader) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.read:])
	r.read += n
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// blame makes err an error of the line with the last byte that was read, or of an
// earlier one if the parser has looked ahead.
func (r *lineReader) blame(err error) *SyntaxError {
	lines := strings.Split(r.text, "\n")
	at := strings.Count(r.text[:max(r.read-1, 0)], "\n")
	for at > 0 && (strings.TrimSpace(lines[at]) == "" || errors.Is(err, errNoData) && !endsInType(lines[at])) {
		at--
	}
	return &SyntaxError{Line: at + 1, Text: lines[at], Err: err}
}

// endsInType reports whether a record ends after its type.
func endsInType(line string) bool {
	line, _, _ = strings.Cut(line, ";")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return false
	}
	_, is := dns.StringToType[strings.ToUpper(fields[len(fields)-1])]
	return is
}
