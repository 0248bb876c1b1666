package smtpd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// handOn sends what a server has taken to a host, and returns what that has then.
func handOn(t *testing.T, m taken, extensions ...string) smtptest.Message {
	t.Helper()
	host := &smtptest.Host{Extensions: extensions}
	net := (&smtptest.Internet{
		Zone:  "example.com. MX 10 mx.example.com.\nxn--bcher-kva.example. MX 10 mx.example.com.\nmx.example.com. A 192.0.2.1\n",
		Hosts: map[string]*smtptest.Host{"mx.example.com": host},
	}).Start(t)
	sender := &delivery.Sender{Hello: "relay.example.net", Resolver: net, Dial: net.DialContext, Content: delivery.ContentRelay}
	defer sender.Close()
	if _, err := sender.Send(t.Context(), m.Message(queue.String(m.content))); err != nil {
		t.Fatal(err)
	}
	host.Check(t)
	return host.Messages()[0]
}

// TestParametersEndToEnd: ENVID and ORCPT reach the next hop with the octets they came
// with (RFC 3461 section 5.2.1), those of type utf-8 in the form that hop can take (RFC
// 6533 section 3).
func TestParametersEndToEnd(t *testing.T) {
	plain := []string{"PIPELINING", "8BITMIME", "DSN"}
	utf8 := append([]string{"SMTPUTF8"}, plain...)
	for _, c := range []struct {
		name, from, to string
		extensions     []string
		wantFrom       string // empty is the same
		wantTo         string
	}{
		{"EXT-1 ENVID", "ENVID=QQ314159", "NOTIFY=SUCCESS,FAILURE", plain, "", ""},
		{"EXT-1 ENVID with signs that are encoded", "ENVID=a+2Bb+3Dc+20d", "NOTIFY=NEVER", plain, "", ""},
		{"EXT-1 ENVID with signs that are not", "ENVID=<!a\"b%c;d,e\\f~>", "NOTIFY=DELAY", plain, "", ""},
		{"EXT-3 ENVID with small hexadecimal digits", "ENVID=X400-MTS-Identifier:+20[/PRMD+3dFirst+20Organizati/ADMD+3d+20/C+3dGB/;DC01-140416101643Z-98]", "NOTIFY=FAILURE", plain,
			"ENVID=X400-MTS-Identifier:+20[/PRMD+3DFirst+20Organizati/ADMD+3D+20/C+3DGB/;DC01-140416101643Z-98]", ""},
		{"EXT-1 RET", "RET=HDRS ENVID=x", "NOTIFY=FAILURE", plain, "", ""},
		{"EXT-1 a plain address", "", "ORCPT=rfc822;b@example.com", plain, "", ""},
		{"EXT-1 a type in capitals", "", "ORCPT=RFC822;JoHn@Example.com", plain, "", ""},
		{"EXT-1 another type", "", "ORCPT=X400;/S=b/", plain, "-", ""},
		{"EXT-1 another type, encoded", "", "ORCPT=x-Any-1;/S+3Db/O+3Dc/", plain, "", ""},
		{"EXT-3 xtext", "", "ORCPT=rfc822;a+2Bb+3Dc@example.com", plain, "", ""},
		{"EXT-3 xtext of a quoted local part", "", "ORCPT=rfc822;\"a+20b\"@example.com", plain, "", ""},
		{"EXT-3 xtext with small hexadecimal digits", "", "ORCPT=rfc822;a+2bb+3Dc+fc@example.com", plain, "", "ORCPT=rfc822;a+2Bb+3Dc+FC@example.com"},
		{"EXT-3 xtext beyond ASCII", "", "ORCPT=rfc822;m+FCller@example.com", plain, "", ""},
		{"EXT-1 a backslash that means nothing", "", `ORCPT=rfc822;a\x{F6}@example.com`, plain, "", ""},
		{"I18N-11 utf-8 in ASCII", "", `ORCPT=utf-8;j\x{F6}@example.com`, plain, "", ""},
		{"I18N-11 utf-8 in capitals", "", `ORCPT=UTF-8;j\x{F6}@example.com`, plain, "", ""},
		{"I18N-11 utf-8 with what must be encoded", "", `ORCPT=utf-8;a\x{2B}b\x{3D}c\x{5C}d\x{20}e@example.com`, plain, "", ""},
		{"I18N-11 utf-8 beyond the first plane", "", `ORCPT=utf-8;\x{1F600}@example.com`, plain, "", ""},
		{"I18N-11 utf-8 that is ASCII", "", "ORCPT=utf-8;b@example.com", plain, "", ""},
		{"I18N-11 utf-8 to a host that could take it raw, in mail that does not", "", `ORCPT=utf-8;j\x{F6}@example.com`, utf8, "", ""},
		{"I18N-11 utf-8 raw, to a host that cannot take it", "SMTPUTF8", "ORCPT=utf-8;j\xc3\xb6@example.com", plain, "-", `ORCPT=utf-8;j\x{F6}@example.com`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, &Server{})
			s := r.dial(t)
			s.say("EHLO me\r\nMAIL FROM:<a@example.org> " + c.from + "\r\nRCPT TO:<b@example.com> " + c.to + "\r\nDATA\r\n")
			switch got := []string{s.reply(), s.reply(), s.reply(), s.reply(), s.reply()}; {
			case strings.Contains(c.to, "X400"):
				if !strings.HasPrefix(got[3], "501 5.5.4") {
					t.Errorf("an equals sign in xtext: %q", got[3])
				}
				return
			case !strings.HasPrefix(got[4], "354"):
				t.Fatalf("%q", got)
			}
			s.say("Subject: s\r\n\r\n.\r\n")
			s.want("250")
			m := handOn(t, r.all()[0], c.extensions...)
			wantFrom, wantTo := c.wantFrom, c.wantTo
			if wantFrom == "" {
				wantFrom = c.from
			}
			if wantTo == "" {
				wantTo = c.to
			}
			for param := range strings.FieldsSeq(wantFrom) {
				if param != "-" && !strings.Contains(fmt.Sprint(m.Params), param) {
					t.Errorf("MAIL has %v, want %s", m.Params, param)
				}
			}
			if got := fmt.Sprint(m.Recipients[0].Params); got != "["+wantTo+"]" {
				t.Errorf("RCPT has %s, want %s", got, wantTo)
			}
		})
	}
	t.Run("I18N-11 utf-8 raw, to a host that takes it", func(t *testing.T) {
		r := start(t, &Server{})
		s := r.dial(t)
		s.say("EHLO me\r\nMAIL FROM:<j\xc3\xb6@example.org> SMTPUTF8\r\nRCPT TO:<b@example.com> ORCPT=utf-8;j\\x{F6}\\x{2B}@example.com\r\nDATA\r\n")
		s.want("220", "250", "250", "250", "354")
		s.say(".\r\n")
		s.want("250")
		if got := fmt.Sprint(handOn(t, r.all()[0], utf8...).Recipients[0].Params); got != "[ORCPT=utf-8;j\xc3\xb6\\x{2B}@example.com]" {
			t.Errorf("RCPT has %q", got)
		}
	})
}

// TestBadOriginals: what is no ORCPT is refused at the door.
func TestBadOriginals(t *testing.T) {
	for _, value := range []string{
		"rfc822", ";b@example.com", "rfc822;", "rfc 822;b", "x.y;b@example.com", "rfc822;a+2@example.com", "rfc822;a+2g@example.com", "rfc822;a+tag@example.com", "rfc822;a+0D+0Ab@example.com", "rfc822;a+0d+0ab@example.com",
		`utf-8;j\x{F6@example.com`, `utf-8;j\xF6@example.com`, `utf-8;j\x{}@example.com`, `utf-8;\x{D800}`, `utf-8;\x{110000}`, `utf-8;a\x{0A}b`, `utf-8;a\`, "utf-8;a\xfcb", `utf-8;a\x{F}b`,
		"x:y;b@example.com", "rfc822;a+2Bb=c@example.com", "rfc822;a+7Fb@example.com",
		`utf-8;j\x{F6`, `utf-8;j\F6}@example.com`, `utf-8;j\x{00000F6}@example.com`, "utf-8;a=b@example.com",
		"rfc822;" + strings.Repeat("a", 494), "rfc822;" + strings.Repeat("a", 500), "rfc822;a ORCPT=rfc822;b",
	} {
		t.Run("EXT-3 "+value[:min(len(value), 40)], func(t *testing.T) {
			s := start(t, &Server{}).dial(t)
			s.say("EHLO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com> ORCPT=" + value + "\r\n")
			s.want("220", "250", "250", "501 5.5.4")
		})
	}
}

// TestLongestOriginals: ORCPT may have 500 octets, and a character six digits.
func TestLongestOriginals(t *testing.T) {
	for _, value := range []string{"rfc822;" + strings.Repeat("a", 493), `utf-8;j\x{0000F6}@example.com`, "x0;b", "x9-y;b"} {
		t.Run("EXT-3 "+value[:min(len(value), 40)], func(t *testing.T) {
			s := start(t, &Server{}).dial(t)
			s.say("EHLO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com> ORCPT=" + value + "\r\n")
			s.want("220", "250", "250", "250")
		})
	}
}
