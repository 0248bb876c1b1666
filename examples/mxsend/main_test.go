package main

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// zone has one domain per story; every mail host is at 127.0.0.1.
const zone = `
$ORIGIN e.test.
@      MX 10 mx
my_host MX 10 mx
mx     A  127.0.0.1
$ORIGIN null.test.
@      MX 0 .
$ORIGIN implicit.test.
@      A  127.0.0.1
$ORIGIN loop.test.
@      MX 10 us.test.
$ORIGIN inside.test.
@      A 10.1.2.3
`

// world is mxsend's surroundings: DNS and one mail host.
type world struct {
	dns  *mxtest.Server
	host *smtptest.Host
	port string
}

func build(t *testing.T, host *smtptest.Host) *world {
	t.Helper()
	w := &world{host: host, dns: &mxtest.Server{DNS: &mxtest.DNS{Zone: zone, Rules: []mxtest.Rule{
		{Name: "broken.test", Fault: mxtest.ServFail},
		{Name: "silent.test", Fault: mxtest.Timeout},
	}}}}
	if err := w.dns.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.dns.Close() })
	w.port = strconv.Itoa(int(netip.MustParseAddrPort(host.Start(t)).Port()))
	return w
}

// mxsend runs the command with this world's DNS and port.
func (w *world) mxsend(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	args = append([]string{"-dns", w.dns.Addr(), "-port", w.port, "-loopback", "-helo", "us.test"}, args...)
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return out.String(), errs.String(), code
}

const text = "Subject: s\n\nbody\n"

func TestExitCodes(t *testing.T) {
	host := &smtptest.Host{Extensions: []string{"PIPELINING"}, Script: []smtptest.Cue{
		{At: smtptest.Rcpt, Address: "no@e.test", Reply: "550 5.1.1 who"},
		{At: smtptest.Rcpt, Address: "later@e.test", Reply: "450 4.2.0 later"},
	}}
	w := build(t, host)
	for _, c := range []struct {
		name, stdin string
		args        []string
		code        int
		says        string // on either output
	}{
		{"delivered", text, []string{"-f", "a@b.test", "u@e.test"}, 0, "u@e.test: delivered to mx.e.test"},
		{"null reverse-path", text, []string{"-f", "", "u@e.test"}, 0, "delivered"},
		{"dots where none may be", text, []string{"-f", ".abc@e.test", "try..this..0511@e.test", "<abc.@e.test>"}, 0, "try..this..0511@e.test: delivered to mx.e.test"},
		{"an underscore in a domain", text, []string{"-f", "bob@my_host.e.test", "bob@my_host.e.test"}, 0, "delivered to mx.e.test"},
		{"an underscore in a domain DNS does not know", text, []string{"-f", "", "root@web_01.nowhere.test"}, 68, "no such domain"},
		{"deferred", text, []string{"-f", "a@b.test", "later@e.test", "u@e.test"}, 75, "450 4.2.0 later"},
		{"failed and deferred", text, []string{"-f", "a@b.test", "no@e.test", "later@e.test"}, 69, "550 5.1.1 who"},
		{"no such domain", text, []string{"-f", "a@b.test", "u@nowhere.test"}, 68, "no such domain"},
		{"no such domain, to be asked for again", text, []string{"-defer-nxdomain", "-f", "a@b.test", "u@nowhere.test"}, 75, "no such domain for now"},
		{"an address in a private network", text, []string{"-refuse-private", "-f", "a@b.test", "u@inside.test"}, 68, "5.4.4"},
		{"DNS that does not answer", text, []string{"-timeout", "50ms", "-f", "a@b.test", "u@silent.test"}, 75, "4.4.3"},
		{"takes no mail", text, []string{"-f", "a@b.test", "u@null.test"}, 68, "5.1.10"},
		{"one of two domains", text, []string{"-f", "a@b.test", "u@null.test", "u@e.test"}, 69, "takes no mail"},
		{"DNS in trouble", text, []string{"-f", "a@b.test", "u@broken.test"}, 75, "4.4.3"},
		{"a loop", text, []string{"-f", "a@b.test", "u@loop.test"}, 68, "5.4.6"},
		{"no -f", text, []string{"u@e.test"}, 64, "-f FROM"},
		{"no recipients", text, []string{"-f", "a@b.test"}, 64, "no recipients"},
		{"no such flag", text, []string{"-frobnicate"}, 64, "frobnicate"},
		{"bad level", text, []string{"-tls", "some", "-f", "", "u@e.test"}, 64, "-tls"},
		{"both families", text, []string{"-4", "-6", "-f", "", "u@e.test"}, 64, "exclude"},
		{"bad -source", text, []string{"-source", "here", "-f", "", "u@e.test"}, 64, "-source"},
		{"bad -port", text, []string{"-port", "70000", "-f", "", "u@e.test"}, 64, "-port"},
		{"bad address", text, []string{"-f", "a@b.test", "u@e.test", "u@e.test\r\nDATA"}, 65, "control character"},
		{"bad reverse-path", text, []string{"-f", "nonsense", "u@e.test"}, 65, "no domain"},
		{"bad message", "a\x00b\n", []string{"-f", "a@b.test", "u@e.test"}, 65, "NUL"},
		{"bad -helo", text, []string{"-helo", "no name", "-f", "", "u@e.test"}, 78, "Hello"},
		{"DANE without DNSSEC", text, []string{"-tls", "dane", "-f", "", "u@e.test"}, 78, "does not report DNSSEC validation"},
		{"DANE and not", text, []string{"-tls", "dane", "-no-dane", "-f", "", "u@e.test"}, 64, "exclude each other"},
		{"no such mode of DNSSEC", text, []string{"-dnssec", "on", "-f", "", "u@e.test"}, 64, "-dnssec"},
		{"DANE and no DNSSEC", text, []string{"-tls", "dane", "-dnssec", "off", "-f", "", "u@e.test"}, 64, "exclude each other"},
		{"an AD bit to believe, and none", text, []string{"-trust-ad", "-dnssec", "off", "-f", "", "u@e.test"}, 64, "exclude each other"},
		{"help", text, []string{"-h"}, 0, "usage"},
		{"the version", text, []string{"-version"}, 0, "mxsend of nexthop "},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, began := len(host.Messages()), time.Now()
			out, errs, code := w.mxsend(t, c.stdin, c.args...)
			if took := time.Since(began); slices.Contains(c.args, "-timeout") && took > 4*time.Second {
				t.Errorf("it took %v, want what -timeout says, a few times", took)
			}
			if code != c.code || !strings.Contains(out+errs, c.says) {
				t.Errorf("exit code %d, want %d, and %q in:\n%s%s", code, c.code, c.says, out, errs)
			}
			if (c.code == 64 || c.code == 65 || c.code == 78) && len(host.Messages()) != before {
				t.Error("a message was sent all the same")
			}
		})
	}
	host.Check(t)
}

// TestOldHeaders: 8-bit octets in a header that nobody calls UTF-8 are passed on as
// they are; who calls them so has them go to hosts with SMTPUTF8.
func TestOldHeaders(t *testing.T) {
	for _, c := range []struct {
		name, stdin string
		args        []string
		extensions  []string
		code        int
		params      []string
	}{
		{"I18N-6 undeclared", "Subject: Gr\xfc\xdfe\n\nbody\n", nil, []string{"8BITMIME"}, 0, []string{"BODY=8BITMIME"}},
		{"I18N-6 undeclared UTF-8", "Subject: Gr\xc3\xbc\xc3\x9fe\n\nbody\n", nil, []string{"8BITMIME", "SMTPUTF8"}, 0, []string{"BODY=8BITMIME"}},
		{"I18N-6 declared, to a host without", "Subject: Gr\xc3\xbc\xc3\x9fe\n\nbody\n", []string{"-smtputf8"}, []string{"8BITMIME"}, 69, nil},
		{"I18N-5 declared, to a host with it", "Subject: Gr\xc3\xbc\xc3\x9fe\n\nbody\n", []string{"-smtputf8"}, []string{"8BITMIME", "SMTPUTF8"}, 0, []string{"BODY=8BITMIME", "SMTPUTF8"}},
		{"I18N-5 declared, and ASCII", text, []string{"-smtputf8"}, []string{"8BITMIME", "SMTPUTF8"}, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := &smtptest.Host{Extensions: c.extensions, Allow: []smtptest.Rule{smtptest.RuleUTF8Header}}
			w := build(t, host)
			out, errs, code := w.mxsend(t, c.stdin, append(c.args, "-f", "a@b.test", "u@e.test")...)
			if code != c.code {
				t.Fatalf("exit code %d, want %d:\n%s%s", code, c.code, out, errs)
			}
			if got := host.Messages(); code == 0 {
				if len(got) != 1 || !slices.Equal(got[0].Params, c.params) || string(got[0].Content) != strings.ReplaceAll(c.stdin, "\n", "\r\n") {
					t.Errorf("sent %+v, want %v", got, c.params)
				}
			} else if len(got) != 0 {
				t.Errorf("sent all the same: %+v", got)
			}
			host.Check(t)
		})
	}
}

func TestJSON(t *testing.T) {
	host := &smtptest.Host{Extensions: []string{"PIPELINING"}, Script: []smtptest.Cue{
		{At: smtptest.Rcpt, Address: "no@e.test", Reply: "550-5.1.1 no such\n550 5.1.1 user"},
		{At: smtptest.Final, Nth: 2, Then: smtptest.Close},
	}}
	w := build(t, host)
	out, _, code := w.mxsend(t, text, "-json", "-f", "a@b.test", "no@e.test", "u@e.test", "u@nowhere.test")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 69 || len(lines) != 3 {
		t.Fatalf("exit code %d and %s", code, out)
	}
	keys := []string{"addr", "attempts", "code", "enhanced", "host", "recipient", "reply", "route", "status", "tls"}
	var got []map[string]any
	for _, l := range lines {
		var m map[string]any
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			t.Fatal(err)
		}
		if have := slices.Sorted(maps.Keys(m)); !slices.Equal(have, keys) {
			t.Errorf("keys %v, want %v", have, keys)
		}
		got = append(got, m)
	}
	check := func(m map[string]any, want map[string]any) {
		t.Helper()
		for k, v := range want {
			if m[k] != v {
				t.Errorf("%s: %s is %v, want %v", m["recipient"], k, m[k], v)
			}
		}
	}
	check(got[0], map[string]any{
		"recipient": "no@e.test", "status": "failed", "route": "mx", "host": "mx.e.test", "addr": "127.0.0.1:" + w.port,
		"code": 550.0, "enhanced": "5.1.1", "reply": "5.1.1 no such\n5.1.1 user", "tls": "none",
	})
	check(got[1], map[string]any{"recipient": "u@e.test", "status": "delivered", "code": 250.0})
	check(got[2], map[string]any{"recipient": "u@nowhere.test", "status": "failed", "enhanced": "5.1.2", "host": ""})
	attempt := got[0]["attempts"].([]any)[0].(map[string]any)
	check(attempt, map[string]any{"host": "mx.e.test", "stage": "rcpt", "code": 550.0, "permanent": true})
}

func TestUnknown(t *testing.T) {
	host := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Final, Then: smtptest.Close}}}
	out, _, code := build(t, host).mxsend(t, text, "-json", "-f", "a@b.test", "u@implicit.test")
	var m struct {
		Status, Route string
		Unknown       bool
	}
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		t.Fatal(err)
	}
	if code != 75 || m.Status != "deferred" || !m.Unknown || m.Route != "implicit" {
		t.Errorf("exit code %d, %+v", code, m)
	}
}

// TestTimeout is -timeout, for a host and for a DNS server that say nothing.
func TestTimeout(t *testing.T) {
	host := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Then: smtptest.Stall}}}
	w := build(t, host)
	for _, to := range []string{"u@e.test", "u@silent.test"} {
		began := time.Now()
		out, _, code := w.mxsend(t, text, "-json", "-timeout", "100ms", "-f", "a@b.test", to)
		if code != 75 || time.Since(began) > 20*time.Second {
			t.Errorf("%s: exit code %d after %v: %s", to, code, time.Since(began), out)
		}
	}
	if _, errs, code := w.mxsend(t, text, "-timeout", "soon", "-f", "a@b.test", "u@e.test"); code != 64 {
		t.Errorf("exit code %d for a time that is none: %s", code, errs)
	}
}

// TestInability is what is told of a host that offers what it cannot do.
func TestInability(t *testing.T) {
	host := &smtptest.Host{Extensions: []string{"STARTTLS"}, Script: []smtptest.Cue{{At: smtptest.StartTLS, Reply: "421 4.3.2 closing", Then: smtptest.Close}}}
	out, _, code := build(t, host).mxsend(t, text, "-json", "-f", "a@b.test", "u@e.test")
	if code != 0 || !strings.Contains(out, `"next":"in-clear"`) || !strings.Contains(out, `"doubted":"STARTTLS"`) || !strings.Contains(out, `"without":"STARTTLS"`) {
		t.Errorf("exit code %d: %s", code, out)
	}
}

func TestExplain(t *testing.T) {
	host := &smtptest.Host{}
	w := build(t, host)
	out, _, code := w.mxsend(t, "", "-explain", "u@e.test", "v@E.TEST", "u@null.test")
	want := "e.test: mail goes by MX records\n" +
		"   1. 10    mx.e.test 127.0.0.1; TLS if offered, any certificate (configuration)\n" +
		"null.test: no route: null.test: domain takes no mail [5.1.10]\n"
	if out != want || code != 68 {
		t.Errorf("exit code %d,\n%swant\n%s", code, out, want)
	}
	if len(host.Connections()) != 0 {
		t.Error("it connected")
	}
}

func TestDialogue(t *testing.T) {
	host := &smtptest.Host{Extensions: []string{"PIPELINING"}}
	_, errs, _ := build(t, host).mxsend(t, text, "-v", "-f", "a@b.test", "u@e.test")
	for _, want := range []string{"* connecting to mx.e.test", "> EHLO us.test", "> RCPT TO:<u@e.test>", "< 354", "octets of content"} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
	if m := host.Messages(); len(m) != 1 || string(m[0].Content) != "Subject: s\r\n\r\nbody\r\n" {
		t.Errorf("messages %+v", m)
	}
}

func TestLongMessage(t *testing.T) {
	host := &smtptest.Host{Extensions: []string{"PIPELINING", "CHUNKING"}, Discard: true}
	long := "Subject: s\n\n" + strings.Repeat(strings.Repeat("x", 99)+"\n", inMemory/100+100)
	_, errs, code := build(t, host).mxsend(t, long, "-f", "a@b.test", "u@e.test")
	if m := host.Messages(); code != 0 || len(m) != 1 || m[0].Size != int64(len(long)+strings.Count(long, "\n")) {
		t.Errorf("exit code %d, %s, messages %+v", code, errs, m)
	}
}
