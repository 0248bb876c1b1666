// Package dsntest reads reports for tests: strictly, so that what is not by the
// standards is an error.
package dsntest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Report is a multipart/report, taken apart.
type Report struct {
	Header Fields
	// Text is the part for people. Message are the fields about the message,
	// Recipients those about each recipient.
	Text       string
	Message    Fields
	Recipients []Fields
	// Returned is the third part, as it stands there, and Type and Encoding what
	// it says it is; all empty where there is none.
	Returned, Type, Encoding string
}

// Fields are header fields in their order.
type Fields []Field

// Field is one header field. Value is unfolded, Raw is not.
type Field struct{ Name, Value, Raw string }

// Get is the value of a field; empty where it is not there.
func (f Fields) Get(name string) string {
	for i := range f {
		if strings.EqualFold(f[i].Name, name) {
			return f[i].Value
		}
	}
	return ""
}

// Has is whether a field is there.
func (f Fields) Has(name string) bool {
	return slices.ContainsFunc(f, func(x Field) bool { return strings.EqualFold(x.Name, name) })
}

// Names are the names of the fields.
func (f Fields) Names() (list []string) {
	for i := range f {
		list = append(list, f[i].Name)
	}
	return list
}

var fieldName = regexp.MustCompile(`^[!-9;-~]+$`)

// readFields reads lines of fields: no blank line, no octet that is not
// printable, no name twice.
func readFields(block string) (list Fields, err error) {
	for line := range strings.SplitSeq(strings.TrimSuffix(block, "\r\n"), "\r\n") {
		if strings.Trim(line, " \t") == "" {
			return nil, fmt.Errorf("blank line among fields: %q", block)
		}
		if line[0] == ' ' || line[0] == '\t' {
			if len(list) == 0 {
				return nil, fmt.Errorf("continuation of nothing: %q", line)
			}
			last := &list[len(list)-1]
			last.Value += line
			last.Raw += "\r\n" + line
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !fieldName.MatchString(name) {
			return nil, fmt.Errorf("not a field: %q", line)
		}
		if list.Has(name) {
			return nil, fmt.Errorf("field %s twice", name)
		}
		list = append(list, Field{Name: name, Value: value, Raw: line})
	}
	for i := range list {
		list[i].Value = strings.TrimSpace(list[i].Value)
	}
	return list, nil
}

var (
	contentType = regexp.MustCompile(`^multipart/report; report-type=delivery-status; boundary="([0-9A-Za-z]{1,70})"$`)
	status      = regexp.MustCompile(`^[245]\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})$`)
)

// Read takes a report apart.
func Read(content []byte) (*Report, error) {
	s := string(content)
	if err := checkLines(s); err != nil {
		return nil, err
	}
	head, body, ok := strings.Cut(s, "\r\n\r\n")
	if !ok {
		return nil, fmt.Errorf("no body")
	}
	r := &Report{}
	var err error
	if r.Header, err = readFields(head); err != nil {
		return nil, err
	}
	kind := contentType.FindStringSubmatch(r.Header.Get("Content-Type"))
	if kind == nil {
		return nil, fmt.Errorf("Content-Type %q", r.Header.Get("Content-Type"))
	}
	parts, err := split(body, kind[1])
	if err != nil {
		return nil, err
	}
	if len(parts) != 2 && len(parts) != 3 {
		return nil, fmt.Errorf("%d parts", len(parts))
	}
	return r, r.readParts(parts)
}

// checkLines holds the octets against RFC 5322 section 2.1: CRLF alone ends
// lines, which have 998 octets at most, and of 7 bits but in the header.
func checkLines(s string) error {
	header := true
	if !strings.HasSuffix(s, "\r\n") {
		return fmt.Errorf("the last line has no end")
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(s, "\r\n"), "\r\n") {
		if len(line) > 998 {
			return fmt.Errorf("a line of %d octets: %.80q", len(line), line)
		}
		header = header && line != ""
		for i := range len(line) {
			c := line[i]
			if c == '\r' || c == '\n' || c == 0 || c >= 0x80 && !(header && strings.HasPrefix(line, "To:")) {
				return fmt.Errorf("octet %#x in %.80q", c, line)
			}
		}
	}
	return nil
}

// split cuts a multipart body at its boundary (RFC 2046 section 5.1.1).
func split(body, boundary string) (parts []string, err error) {
	mark := "\r\n--" + boundary
	pieces := strings.Split("\r\n"+body, mark)
	for i, p := range pieces[1:] {
		last := i == len(pieces)-2
		switch {
		case last && p == "--\r\n":
			return parts, nil
		case last || !strings.HasPrefix(p, "\r\n"):
			return nil, fmt.Errorf("delimiter followed by %.40q", p)
		}
		parts = append(parts, strings.TrimPrefix(p, "\r\n"))
	}
	return nil, fmt.Errorf("no delimiter")
}

func (r *Report) readParts(parts []string) error {
	var heads []Fields
	var bodies []string
	for _, p := range parts {
		head, body, ok := strings.Cut(p, "\r\n\r\n")
		if !ok {
			return fmt.Errorf("a part without a body: %.80q", p)
		}
		fields, err := readFields(head)
		if err != nil {
			return err
		}
		heads, bodies = append(heads, fields), append(bodies, body)
	}
	if t := heads[0].Get("Content-Type"); !strings.HasPrefix(t, "text/plain") {
		return fmt.Errorf("first part is %q", t)
	}
	if t, e := heads[1].Get("Content-Type"), heads[1].Get("Content-Transfer-Encoding"); t != "message/delivery-status" || e != "7bit" {
		return fmt.Errorf("second part is %q, %q", t, e)
	}
	r.Text = bodies[0]
	if len(parts) == 3 {
		r.Returned = bodies[2]
		r.Type, r.Encoding = heads[2].Get("Content-Type"), heads[2].Get("Content-Transfer-Encoding")
	}
	return r.readStatus(bodies[1])
}

// readStatus reads a message/delivery-status (RFC 3464 section 2.1).
func (r *Report) readStatus(s string) error {
	for i, block := range strings.Split(s, "\r\n\r\n") {
		fields, err := readFields(block)
		if err != nil {
			return err
		}
		for _, f := range fields {
			if f.Value == "" {
				return fmt.Errorf("field %s is empty", f.Name)
			}
		}
		if i == 0 {
			r.Message = fields
			continue
		}
		r.Recipients = append(r.Recipients, fields)
	}
	if !r.Message.Has("Reporting-MTA") || len(r.Recipients) == 0 {
		return fmt.Errorf("no Reporting-MTA, or no recipients: %q", s)
	}
	for _, f := range r.Recipients {
		if !f.Has("Final-Recipient") || !f.Has("Action") || !status.MatchString(f.Get("Status")) {
			return fmt.Errorf("a recipient lacks what it must have: %q", f)
		}
	}
	return nil
}
