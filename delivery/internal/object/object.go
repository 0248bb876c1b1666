// Package object writes JSON objects, as package delivery has them for its users.
package object

import (
	"bytes"
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"time"
)

// Seconds returns a duration in seconds, to the microsecond.
func Seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1e6) / 1e6 }

// Instant returns a time in UTC by RFC 3339, or "" for the zero time.
func Instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// Addr returns an address as text, or "" if there is none.
func Addr(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// Encode returns v as JSON with unescaped angle brackets, which occur in replies and
// ids of messages. The encoder that includes it decides about escaping again.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Fields are the members of an object, encoded one by one: that is faster than encoding/json,
// and there are two events of each message.
type Fields struct {
	b   []byte
	err error
}

// New begins an object, with room for so many octets.
func New(size int) Fields { return Fields{b: append(make([]byte, 0, size), '{')} }

// Name begins a member; its value follows.
func (f *Fields) Name(name string) {
	if f.b[len(f.b)-1] != '{' {
		f.b = append(f.b, ',')
	}
	f.b = append(append(append(f.b, '"'), name...), '"', ':')
}

// Text is a member with a text.
func (f *Fields) Text(name, value string) {
	f.Name(name)
	if !verbatim(value) {
		f.encode(value)
		return
	}
	f.b = append(append(append(f.b, '"'), value...), '"')
}

// verbatim reports whether a text stands in JSON as it is: it is ASCII without control
// characters, quotes and backslashes. It looks at eight octets at a time.
func verbatim(text string) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; len(text) >= 8; text = text[8:] {
		x := uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 |
			uint64(text[4])<<32 | uint64(text[5])<<40 | uint64(text[6])<<48 | uint64(text[7])<<56
		// A sum has the high bit of an octet that is DEL, a difference that of one below the
		// number that is taken away. Carries from other octets come only from such, too.
		if (x|(x+ones)|(x-' '*ones)|((x^'"'*ones)-ones)|((x^'\\'*ones)-ones))&high != 0 {
			return false
		}
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// TextIf is a member with a text, if it is not empty.
func (f *Fields) TextIf(name, value string) {
	if value != "" {
		f.Text(name, value)
	}
}

// Number is a member with a number.
func (f *Fields) Number(name string, n int) {
	f.Name(name)
	f.b = strconv.AppendInt(f.b, int64(n), 10)
}

// SecondsIf is a member with a duration in seconds, if it is not zero.
func (f *Fields) SecondsIf(name string, d time.Duration) {
	if v := Seconds(d); v != 0 {
		f.Name(name)
		f.b = strconv.AppendFloat(f.b, v, 'f', -1, 64)
	}
}

// Value is a member with a value that encoding/json encodes.
func (f *Fields) Value(name string, v any) {
	f.Name(name)
	f.encode(v)
}

// encode appends a value of any kind.
func (f *Fields) encode(v any) {
	b, err := Encode(v)
	f.b = append(f.b, b...)
	if f.err == nil {
		f.err = err
	}
}

// ObjectIf is an object with the members that add begins, if there are any.
func (f *Fields) ObjectIf(name string, add func(*Fields)) {
	before := len(f.b)
	f.Name(name)
	f.b = append(f.b, '{')
	empty := len(f.b)
	if add(f); len(f.b) == empty {
		f.b = f.b[:before]
		return
	}
	f.b = append(f.b, '}')
}

// Object returns the object, or the first error of a value.
func (f *Fields) Object() ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	return append(f.b, '}'), nil
}
