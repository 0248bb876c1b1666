package mtasts_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
)

// TestPolicies are policies as they are found, each with what becomes of it.
func TestPolicies(t *testing.T) {
	const head, tail = "version: STSv1\nmode: enforce\n", "max_age: 86400\n"
	for _, test := range []struct {
		name, text string
		mode       mtasts.Mode
		mx         string
		age        int // in seconds
		notes      string
		wrong      string // in the error; the policy is refused
	}{
		{name: "TLS-15 plain", text: head + "mx: mx.e.test\nmx: *.e.test\n" + tail, mx: "mx.e.test *.e.test"},
		{name: "TLS-15 CRLF", text: strings.ReplaceAll(head+"mx: mx.e.test\n"+tail, "\n", "\r\n"), mx: "mx.e.test"},
		{name: "TLS-15 CRLF and LF", text: "version: STSv1\r\nmode: enforce\nmx: mx.e.test\r\n" + tail, mx: "mx.e.test"},
		{name: "TLS-15 no end of the last line", text: head + "mx: mx.e.test\nmax_age: 86400", mx: "mx.e.test"},
		{name: "TLS-15 CR alone at the end", text: head + "mx: mx.e.test\nmax_age: 86400\r", mx: "mx.e.test"},
		{name: "TLS-15 lines that end in CR alone", text: strings.ReplaceAll(head+"mx: mx.e.test\n"+tail, "\n", "\r"), wrong: "line 1"},
		{name: "TLS-15 another order", text: tail + "mx: mx.e.test\nmode: enforce\nversion: STSv1\n", mx: "mx.e.test"},
		{name: "TLS-15 no blanks", text: "version:STSv1\nmode:enforce\nmx:mx.e.test\nmax_age:86400\n", mx: "mx.e.test"},
		{name: "TLS-15 many blanks", text: "version: \t STSv1 \nmode:   enforce\t\nmx: mx.e.test  \nmax_age: 86400 \n", mx: "mx.e.test"},
		{name: "TLS-15 empty lines at the end", text: head + "mx: mx.e.test\n" + tail + "\n\r\n  \n", mx: "mx.e.test", notes: "it has empty lines"},
		{name: "TLS-15 empty lines between", text: "version: STSv1\n\nmode: enforce\n\nmx: mx.e.test\n\n" + tail, mx: "mx.e.test", notes: "it has empty lines"},
		{name: "TLS-15 a byte order mark", text: "\ufeff" + head + "mx: mx.e.test\n" + tail, mx: "mx.e.test", notes: "it begins with a byte order mark"},
		{name: "TLS-15 two byte order marks", text: "\ufeff\ufeff" + head + "mx: mx.e.test\n" + tail, wrong: "line 1"},
		{name: "TLS-15 not UTF-8", text: head + "mx: mx.e.test\nx: \xff\n" + tail, wrong: "UTF-8"},
		{name: "TLS-15 UTF-16", text: "\xff\xfev\x00e\x00", wrong: "UTF-8"},
		{name: "TLS-15 an unknown key", text: head + "mx: mx.e.test\nfuture: über\nx-y.z_1: a:b\n" + tail, mx: "mx.e.test"},
		{name: "TLS-15 a key of 33 characters", text: head + "mx: mx.e.test\n" + strings.Repeat("a", 33) + ": b\n" + tail, wrong: "line 4"},
		{name: "TLS-15 a key with a blank in it", text: head + "mx: mx.e.test\na b: c\n" + tail, wrong: "line 4"},
		{name: "TLS-15 a blank before the colon", text: "version : STSv1\nmode: enforce\nmx: mx.e.test\n" + tail, mx: "mx.e.test", notes: "it has blanks around a key"},
		{name: "TLS-15 indented", text: " version: STSv1\n mode: enforce\n mx: mx.e.test\n max_age: 86400", mx: "mx.e.test", notes: "it has blanks around a key"},
		{name: "TLS-15 a line without a colon", text: head + "mx: mx.e.test\nhello\n" + tail, wrong: "line 4"},
		{name: "TLS-15 a comment", text: "# policy\n" + head + "mx: mx.e.test\n" + tail, wrong: "line 1"},
		{name: "TLS-15 a page", text: "<!DOCTYPE html>\n<html><head><title>Sign in: e.test</title>", wrong: "line 1"},
		{name: "TLS-15 nothing", text: "", wrong: "no version"},
		{name: "TLS-15 NUL", text: head + "mx: mx.e.test\nx: a\x00b\n" + tail, wrong: "line 4"},

		{name: "TLS-15 no version", text: "mode: enforce\nmx: mx.e.test\n" + tail, wrong: "no version"},
		{name: "TLS-15 another version", text: "version: STSv2\nmode: enforce\nmx: mx.e.test\n" + tail, wrong: "line 1"},
		{name: "TLS-15 the version in another case", text: "version: stsv1\nmode: enforce\nmx: mx.e.test\n" + tail, wrong: "line 1"},
		{name: "TLS-15 the version as in the record", text: "v=STSv1\nmode: enforce\nmx: mx.e.test\n" + tail, wrong: "line 1"},

		{name: "TLS-15 no mode", text: "version: STSv1\nmx: mx.e.test\n" + tail, wrong: "no mode"},
		{name: "TLS-15 mode testing", text: "version: STSv1\nmode: testing\nmx: mx.e.test\n" + tail, mode: mtasts.Testing, mx: "mx.e.test"},
		{name: "TLS-15 mode none, without mx", text: "version: STSv1\nmode: none\n" + tail, mode: mtasts.None},
		{name: "TLS-15 mode none, with mx", text: "version: STSv1\nmode: none\nmx: mx.e.test\n" + tail, mode: mtasts.None, mx: "mx.e.test"},
		{name: "TLS-15 mode with a capital", text: "version: STSv1\nmode: Enforce\nmx: mx.e.test\n" + tail, wrong: "line 2"},
		{name: "TLS-15 another mode", text: "version: STSv1\nmode: report\nmx: mx.e.test\n" + tail, wrong: "line 2"},
		{name: "TLS-15 an empty mode", text: "version: STSv1\nmode:\nmx: mx.e.test\n" + tail, wrong: "line 2"},
		{name: "TLS-15 a key with a capital is another", text: "version: STSv1\nMode: enforce\nmx: mx.e.test\n" + tail, wrong: "no mode"},
		{name: "TLS-15 mode twice", text: head + "mode: none\nmx: mx.e.test\n" + tail, mx: "mx.e.test", notes: "mode stands there twice, the first counts"},
		{name: "TLS-15 the second mode is nonsense", text: head + "mode: x\nmx: mx.e.test\n" + tail, mx: "mx.e.test", notes: "mode stands there twice, the first counts"},

		{name: "TLS-15 no max_age", text: head + "mx: mx.e.test\n", wrong: "no max_age"},
		{name: "TLS-15 max_age 0", text: head + "mx: mx.e.test\nmax_age: 0\n", mx: "mx.e.test", age: -1},
		{name: "TLS-15 max_age of a year", text: head + "mx: mx.e.test\nmax_age: 31557600\n", mx: "mx.e.test", age: 31557600},
		{name: "TLS-15 max_age of more", text: head + "mx: mx.e.test\nmax_age: 31557601\n", mx: "mx.e.test", age: 31557600, notes: "max_age is more than a year, and counts as one"},
		{name: "TLS-15 max_age of ten digits", text: head + "mx: mx.e.test\nmax_age: 9999999999\n", mx: "mx.e.test", age: 31557600, notes: "max_age is more than a year, and counts as one"},
		{name: "TLS-15 max_age 10^11", text: head + "mx: mx.e.test\nmax_age: 100000000000\n", mx: "mx.e.test", age: 31557600, notes: "max_age is more than a year, and counts as one"},
		{name: "TLS-15 max_age of forty digits", text: head + "mx: mx.e.test\nmax_age: " + strings.Repeat("9", 40) + "\n", mx: "mx.e.test", age: 31557600, notes: "max_age is more than a year, and counts as one"},
		{name: "TLS-15 max_age with zeros before it", text: head + "mx: mx.e.test\nmax_age: 000086400\n", mx: "mx.e.test"},
		{name: "TLS-15 max_age with a semicolon", text: head + "mx: mx.e.test\nmax_age: 86400;\n", wrong: "line 4"},
		{name: "TLS-15 max_age less than nothing", text: head + "mx: mx.e.test\nmax_age: -1\n", wrong: "line 4"},
		{name: "TLS-15 max_age with a sign", text: head + "mx: mx.e.test\nmax_age: +1\n", wrong: "line 4"},
		{name: "TLS-15 max_age with a fraction", text: head + "mx: mx.e.test\nmax_age: 1.5\n", wrong: "line 4"},
		{name: "TLS-15 max_age in words", text: head + "mx: mx.e.test\nmax_age: 1 day\n", wrong: "line 4"},
		{name: "TLS-15 an empty max_age", text: head + "mx: mx.e.test\nmax_age:\n", wrong: "line 4"},
		{name: "TLS-15 max_age twice", text: head + "mx: mx.e.test\n" + tail + "max_age: 1\n", mx: "mx.e.test", notes: "max_age stands there twice, the first counts"},

		{name: "TLS-15 no mx", text: head + tail, wrong: "no mx"},
		{name: "TLS-15 an empty mx", text: head + "mx:\n" + tail, wrong: "line 3"},
		{name: "TLS-16 mx in capitals", text: head + "mx: MX.E.Test\n" + tail, mx: "mx.e.test", notes: "mx is not a name in lower case and ASCII, without a final dot"},
		{name: "TLS-16 mx with a final dot", text: head + "mx: mx.e.test.\n" + tail, mx: "mx.e.test", notes: "mx is not a name in lower case and ASCII, without a final dot"},
		{name: "TLS-16 mx beyond ASCII", text: head + "mx: *.müller.test\n" + tail, mx: "*.xn--mller-kva.test", notes: "mx is not a name in lower case and ASCII, without a final dot"},
		{name: "TLS-16 mx in the style of certificates of old", text: head + "mx: .e.test\n" + tail, wrong: "line 3"},
		{name: "TLS-16 mx a star", text: head + "mx: *\n" + tail, wrong: "line 3"},
		{name: "TLS-16 mx a star and a dot", text: head + "mx: *.\n" + tail, wrong: "line 3"},
		{name: "TLS-16 mx with a star within a label", text: head + "mx: mx*.e.test\n" + tail, wrong: "line 3"},
		{name: "TLS-16 mx with a star further on", text: head + "mx: mx.*.test\n" + tail, wrong: "line 3"},
		{name: "TLS-16 mx with two stars", text: head + "mx: *.*.test\n" + tail, wrong: "line 3"},
		{name: "TLS-16 mx an address alone", text: head + "mx: 192.0.2.1\n" + tail, wrong: "no mx"},
		{name: "TLS-15 TLS-16 mx an address among names", text: head + "mx: mx.e.test\nmx: 192.0.2.1\nmx: *.e.test\n" + tail, mx: "mx.e.test *.e.test", notes: "an mx is an address, and matches no host"},
		{name: "TLS-15 TLS-16 mx an address first", text: head + "mx: 192.0.2.1.\nmx: mx.e.test\n" + tail, mx: "mx.e.test", notes: "an mx is an address, and matches no host"},
		{name: "TLS-16 mx addresses of IPv6 among names", text: head + "mx: mx.e.test\nmx: 2001:db8::1\nmx: [IPv6:2001:db8::1]\nmx: [::1]\n" + tail, mx: "mx.e.test", notes: "an mx is an address, and matches no host"},
		{name: "TLS-16 mx an address below a star", text: head + "mx: mx.e.test\nmx: *.192.0.2.1\n" + tail, wrong: "line 4"},
		{name: "TLS-16 mx what begins like an address", text: head + "mx: mx.e.test\nmx: 192.0.2.1/24\n" + tail, wrong: "line 4"},
		{name: "TLS-16 mx a number", text: head + "mx: mx.e.test\nmx: 25\n" + tail, wrong: "line 4"},
		{name: "TLS-16 mx an address in brackets alone", text: head + "mx: [192.0.2.1]\n" + tail, wrong: "no mx"},
		{name: "TLS-16 mx with a port", text: head + "mx: mx.e.test:25\n" + tail, wrong: "line 3"},
		{name: "TLS-16 mx with commas", text: head + "mx: a.e.test, b.e.test\n" + tail, wrong: "line 3"},
		{name: "TLS-16 mx with a preference", text: head + "mx: 10 a.e.test\n" + tail, wrong: "line 3"},
		{name: "TLS-16 mx with a scheme", text: head + "mx: smtp://a.e.test\n" + tail, wrong: "line 3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := mtasts.ParsePolicy([]byte(test.text))
			if test.wrong != "" {
				e, ok := errors.AsType[*mtasts.Error](err)
				if !ok || e.Type != mtasts.PolicyInvalid || !strings.Contains(e.Error(), test.wrong) {
					t.Errorf("error is %v, policy %+v; want one about %s", err, p, test.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			mode, age := test.mode, test.age
			if !strings.Contains(test.text, "mode: none\nmax") && !strings.Contains(test.text, "STSv1\nmode: none") && mode == mtasts.None {
				mode = mtasts.Enforce
			}
			switch age {
			case 0:
				age = 86400
			case -1:
				age = 0
			}
			if p.Mode != mode || strings.Join(p.MX, " ") != test.mx || p.MaxAge != time.Duration(age)*time.Second || strings.Join(p.Notes, "; ") != test.notes {
				t.Errorf("policy is %+v; want mode %v, mx %s, %d s, notes %q", p, mode, test.mx, age, test.notes)
			}
			if slices.ContainsFunc(p.Lines, func(l string) bool { return strings.ContainsAny(l, "\r\n") || strings.TrimSpace(l) != l }) || len(p.Lines) < 3 {
				t.Errorf("TLS-45 for reports the lines are %q", p.Lines)
			}
		})
	}
}

func TestRecords(t *testing.T) {
	long := strings.Repeat("a", 32)
	for _, test := range []struct {
		name    string
		records []string
		id, why string
	}{
		{"TLS-12 plain", []string{"v=STSv1; id=20260101T000000;"}, "20260101T000000", ""},
		{"TLS-12 no semicolon at the end", []string{"v=STSv1; id=1"}, "1", ""},
		{"TLS-12 no blanks", []string{"v=STSv1;id=1"}, "1", ""},
		{"TLS-12 many blanks", []string{"v=STSv1; \t id=1 ;  "}, "1", ""},
		{"TLS-12 blanks around the sign", []string{"v=STSv1; id = 1;"}, "1", ""},
		{"TLS-12 none", nil, "", "no record"},
		{"TLS-12 others' records", []string{"v=spf1 -all", "x"}, "", "no record"},
		{"TLS-12 one and another's", []string{"v=spf1 -all", "v=STSv1; id=1"}, "1", ""},
		{"TLS-12 two", []string{"v=STSv1; id=1", "v=STSv1; id=2"}, "", "several records"},
		{"TLS-12 two that are the same", []string{"v=STSv1; id=1", "v=STSv1; id=1"}, "", "several records"},
		{"TLS-12 one that is valid and one that is not", []string{"v=STSv1; id=1", "v=STSv1; x"}, "", "several records"},
		{"TLS-12 the version in another case", []string{"V=STSv1; id=1"}, "", "no record"},
		{"TLS-12 the version in lower case", []string{"v=stsv1; id=1"}, "", "no record"},
		{"TLS-12 another version", []string{"v=STSv2; id=1"}, "", "no record"},
		{"TLS-12 a version that begins like it", []string{"v=STSv10; id=1"}, "", "no record"},
		{"TLS-12 the version alone", []string{"v=STSv1"}, "", "no record"},
		{"TLS-12 a blank before the version", []string{" v=STSv1; id=1"}, "", "no record"},
		{"TLS-12 the version is not first", []string{"id=1; v=STSv1;"}, "", "no record"},
		{"TLS-12 no id", []string{"v=STSv1;"}, "", "no id"},
		{"TLS-12 an empty id", []string{"v=STSv1; id=;"}, "", "an id that has not 1 to 32 characters"},
		{"TLS-12 an id of 32", []string{"v=STSv1; id=" + long}, long, ""},
		{"TLS-12 an id of 33", []string{"v=STSv1; id=" + long + "a"}, "", "an id that has not 1 to 32 characters"},
		{"TLS-12 an id with dashes", []string{"v=STSv1; id=2026-01-01"}, "", "an id with other characters than letters and digits"},
		{"TLS-12 an id with a blank in it", []string{"v=STSv1; id=1 2"}, "", "an id with other characters than letters and digits"},
		{"TLS-12 an id beyond ASCII", []string{"v=STSv1; id=é"}, "", "an id with other characters than letters and digits"},
		{"TLS-12 unknown fields", []string{"v=STSv1; future=x=y; id=1; other"}, "1", ""},
		{"TLS-12 the id twice", []string{"v=STSv1; id=1; id=2"}, "1", ""},
		{"TLS-12 ID in capitals is another field", []string{"v=STSv1; ID=1"}, "", "no id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			id, ok, why := mtasts.ParseRecord(test.records)
			if id != test.id || ok != (test.id != "") || why != test.why {
				t.Errorf("id is %q, %v, %q; want %q, %q", id, ok, why, test.id, test.why)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		pattern, host string
		want          bool
	}{
		{"mx.e.test", "mx.e.test", true},
		{"mx.e.test", "mx2.e.test", false},
		{"mx.e.test", "a.mx.e.test", false},
		{"*.e.test", "mx.e.test", true},
		{"*.e.test", "e.test", false},
		{"*.e.test", "a.b.e.test", false},
		{"*.e.test", "mxe.test", false},
		{"*.e.test", "", false},
		{"e.test", "e.test", true},
		{"MX.E.TEST.", "mx.e.test", true},
		{"*.müller.test", "mx.xn--mller-kva.test", true},
		{"*.test", "test", false},
	} {
		p, err := mtasts.ParsePolicy([]byte("version: STSv1\nmode: enforce\nmax_age: 1\nmx: other.test\nmx: " + test.pattern))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Matches(test.host); got != test.want {
			t.Errorf("TLS-16 %s matches %s: %v, want %v", test.pattern, test.host, got, test.want)
		}
	}
}

func TestModeText(t *testing.T) {
	for _, m := range []mtasts.Mode{mtasts.None, mtasts.Testing, mtasts.Enforce} {
		text, err := json.Marshal(m)
		back := mtasts.Mode(7)
		if err != nil || json.Unmarshal(text, &back) != nil || back != m {
			t.Errorf("%v in JSON is %s, %v, and back %v", m, text, err, back)
		}
	}
	if text, err := json.Marshal(mtasts.Mode(3)); err == nil || mtasts.Mode(3).String() != "mode 3" {
		t.Errorf("what is no mode is %s", text)
	}
}
