package delivery_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// inabilities is what becomes of mail to the only host of a domain, which cannot do
// what it offers and shows that in one form. Of two letters the first is for the
// message that finds out, the second for the next one:
//
//	1  the mail arrives in the first attempt
//	2  it arrives in the second
//	F  it fails: the answer names something else, and the report has it
//	L  it is deferred for the login, and the report says so
//	D  it is deferred: the answer names something else that passes
const inabilities = `
             EHLO STARTTLS in-TLS PIPELINING CHUNKING one-flight SIZE RET ENVID AUTH= NOTIFY ORCPT  BODY long-chunks
500          11   11       11     11         11       11         11   11  11    11    11     11     11   11
501          11   11       11     FF         11       11         11   11  11    11    11     11     11   11
502          11   11       11     11         11       11         11   11  11    11    11     11     11   11
503          11   11       11     11         11       11         11   11  11    11    11     11     11   11
504          11   11       11     FF         11       11         11   11  11    11    11     11     11   11
555          11   11       11     FF         11       11         11   11  11    11    11     11     11   11
550          11   11       11     FF         FF       F1         11   11  11    11    FF     FF     11   FF
554          11   11       11     FF         FF       F1         11   11  11    11    FF     FF     11   FF
550-5.5.4    11   11       11     11         11       11         11   11  11    11    11     11     11   11
550-5.7.1    11   11       11     FF         FF       F1         FF   FF  FF    FF    FF     FF     FF   FF
553-5.1.7    11   11       11     FF         FF       F1         FF   FF  FF    FF    FF     FF     FF   FF
450          22   11       22     22         22       21         22   22  22    22    DD     DD     22   22
451          22   11       22     22         22       21         22   22  22    22    DD     DD     22   22
454          22   11       22     22         22       21         DD   DD  DD    DD    DD     DD     DD   22
455-4.5.4    22   11       22     22         22       21         22   22  22    22    22     22     22   22
421          22   11       22     22         22       21         22   22  22    22    22     22     22   22
421-close    22   11       22     22         22       21         22   22  22    22    22     22     22   22
close        21   11       11     21         21       21         21   21  21    21    21     21     21   21
reset        21   11       11     21         21       21         21   21  21    21    21     21     21   21
silence      21   11       11     21         21       21         21   21  21    21    21     21     21   21
nonsense     21   11       21     21         21       21         21   21  21    21    21     21     21   21
two-codes    21   11       21     21         21       21         21   21  21    21    21     21     21   21
454-close    22   11       22     22         22       21         DD   DD  DD    DD    DD     DD     DD   22
501-close    21   11       21     F1         11       11         11   11  11    11    11     11     11   11
550-close    21   11       21     F1         FF       F1         11   11  11    11    FF     FF     11   FF
`

// inabilitiesAtLogin is the same for AUTH. A login that is refused is the
// operator's affair.
const inabilitiesAtLogin = `
             initial initial-LOGIN EXTERNAL SCRAM-SHA-256-PLUS SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN CRAM-MD5
500          11      11            11       11                 11            11          11      11    11    11
501          11      11            11       11                 11            11          11      11    11    11
502          11      11            11       11                 11            11          11      11    11    11
504          11      11            11       11                 11            11          11      11    11    11
534          LL      LL            11       11                 11            11          11      11    11    11
535          LL      11            11       LL                 11            LL          LL      LL    LL    11
538          LL      LL            11       11                 11            11          11      11    11    11
550          11      11            11       11                 11            11          11      11    11    11
454          22      22            22       22                 22            22          22      22    22    22
421          22      22            22       22                 22            22          22      22    22    22
421-close    22      22            22       22                 22            22          22      22    22    22
close        21      21            21       21                 21            21          21      21    21    21
reset        21      21            21       21                 21            21          21      21    21    21
silence      21      21            21       21                 21            21          21      21    21    21
nonsense     21      21            21       21                 21            21          21      21    21    21
two-codes    21      21            21       21                 21            21          21      21    21    21
454-close    22      22            22       22                 22            22          22      22    22    22
501-close    11      11            11       11                 11            11          11      11    11    11
550-close    11      11            11       11                 11            11          11      11    11    11
`

// inabilityForm is how an inability shows itself.
func inabilityForm(name string) smtptest.Cue {
	switch name {
	case "421":
		return smtptest.Cue{Reply: "421 4.3.2 closing"}
	case "421-close":
		return smtptest.Cue{Reply: "421 4.3.2 closing", Then: smtptest.Close}
	case "454-close", "501-close", "550-close":
		return smtptest.Cue{Reply: name[:3] + " no", Then: smtptest.Close}
	case "close":
		return smtptest.Cue{Then: smtptest.Close}
	case "reset":
		return smtptest.Cue{Then: smtptest.Reset}
	case "silence":
		return smtptest.Cue{Then: smtptest.Stall}
	case "nonsense":
		return smtptest.Cue{Raw: "HTTP/1.1 400 Bad Request\r\n"}
	case "two-codes":
		return smtptest.Cue{Raw: "450-bad\r\n550 worse\r\n"}
	default:
		code, status, _ := strings.Cut(name, "-")
		return smtptest.Cue{Reply: strings.TrimSpace(code + " " + status + " no")}
	}
}

// inability is a host that cannot do what it offers, and a message that asks for it.
type inability struct {
	extensions []string
	when       smtptest.Cue
	login      *smarthost.Login
	level      mx.TLSLevel
	message    func(*queue.Message)
	warm       bool   // on a session that has carried a message
	never      string // no command has this once it is known
}

func inabilityOf(name string) inability {
	dsn := func(change func(*queue.Message)) inability {
		return inability{extensions: []string{"DSN", "PIPELINING"}, message: change}
	}
	switch name {
	case "EHLO":
		return inability{when: smtptest.Cue{At: smtptest.Hello, Said: "EHLO"}, never: "EHLO"}
	case "STARTTLS":
		return inability{extensions: []string{"STARTTLS"}, when: smtptest.Cue{At: smtptest.StartTLS}}
	case "in-TLS":
		return inability{extensions: []string{"STARTTLS"}, when: smtptest.Cue{At: smtptest.HelloTLS, Said: "EHLO"}}
	case "PIPELINING":
		return inability{extensions: []string{"PIPELINING"}, when: smtptest.Cue{At: smtptest.Rcpt, Grouped: true}}
	case "CHUNKING":
		return inability{extensions: []string{"PIPELINING", "CHUNKING"}, when: smtptest.Cue{At: smtptest.Final, Said: "BDAT"}, never: "BDAT"}
	case "one-flight":
		return inability{extensions: []string{"PIPELINING", "CHUNKING"}, when: smtptest.Cue{At: smtptest.Final, Said: "BDAT", Grouped: true}, warm: true}
	case "SIZE":
		return inability{extensions: []string{"SIZE 100000", "PIPELINING"}, when: smtptest.Cue{At: smtptest.Mail, Said: " SIZE="}, never: " SIZE="}
	case "BODY":
		return inability{
			extensions: []string{"8BITMIME", "PIPELINING"}, when: smtptest.Cue{At: smtptest.Mail, Said: " BODY="}, never: " BODY=",
			message: func(m *queue.Message) {
				content, _ := m.Content.(queue.String)
				m.Content = queue.String(strings.Replace(string(content), "\r\n\r\nbody", "\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nb\xf6dy", 1))
			},
		}
	case "long-chunks":
		return inability{
			extensions: []string{"PIPELINING", "CHUNKING"}, when: smtptest.Cue{At: smtptest.Chunk, Nth: 1}, never: "BDAT",
			message: func(m *queue.Message) {
				content, _ := m.Content.(queue.String)
				m.Content = queue.String(string(content) + strings.Repeat("0123456789abcdef\r\n", 60_000))
			},
		}
	case "RET":
		i := dsn(func(m *queue.Message) { m.Return = queue.ReturnHeaders })
		i.when, i.never = smtptest.Cue{At: smtptest.Mail, Said: " RET="}, " RET="
		return i
	case "ENVID":
		i := dsn(func(m *queue.Message) { m.EnvelopeID = "x1" })
		i.when, i.never = smtptest.Cue{At: smtptest.Mail, Said: " ENVID="}, " ENVID="
		return i
	case "AUTH=":
		return inability{
			extensions: []string{"AUTH PLAIN"}, login: user(), level: mx.TLSNone,
			when: smtptest.Cue{At: smtptest.Mail, Said: " AUTH="}, never: " AUTH=",
		}
	case "NOTIFY":
		i := dsn(func(m *queue.Message) { m.Recipients[0].Notify = queue.NotifyFailure })
		i.when, i.never = smtptest.Cue{At: smtptest.Rcpt, Said: " NOTIFY="}, " NOTIFY="
		return i
	case "ORCPT":
		i := dsn(func(m *queue.Message) {
			m.Recipients[0].OriginalType, m.Recipients[0].Original = "rfc822", "u@e.test"
		})
		i.when, i.never = smtptest.Cue{At: smtptest.Rcpt, Said: " ORCPT="}, " ORCPT="
		return i
	case "initial":
		return inability{extensions: []string{"AUTH PLAIN"}, when: smtptest.Cue{At: smtptest.Auth, Said: "AUTH PLAIN "}, login: user(), level: mx.TLSNone, never: "AUTH PLAIN "}
	case "initial-LOGIN":
		return inability{extensions: []string{"AUTH LOGIN"}, when: smtptest.Cue{At: smtptest.Auth, Said: "AUTH LOGIN "}, login: user(), level: mx.TLSNone, never: "AUTH LOGIN "}
	default:
		other := map[string]string{
			"EXTERNAL": "PLAIN", "SCRAM-SHA-256-PLUS": "SCRAM-SHA-256", "SCRAM-SHA-256": "PLAIN", "OAUTHBEARER": "XOAUTH2",
			"XOAUTH2": "PLAIN", "PLAIN": "LOGIN", "LOGIN": "CRAM-MD5", "CRAM-MD5": "PLAIN",
		}[name]
		i := inability{
			extensions: []string{"STARTTLS", "AUTH " + name + " " + other}, when: smtptest.Cue{At: smtptest.Auth, Said: "AUTH " + name},
			login: user(), level: mx.TLSVerify, never: "AUTH " + name + "|",
		}
		switch name {
		case "CRAM-MD5":
			i.level = mx.TLSEncrypt
		case "OAUTHBEARER", "XOAUTH2":
			i.login = &smarthost.Login{User: "user", Password: password, Token: smarthost.StaticToken(password)}
		}
		return i
	}
}

// onlyHost is a Router to one host, with a login and the TLS level that it asks for.
type onlyHost struct {
	login *smarthost.Login
	level mx.TLSLevel
}

func (o onlyHost) Route(context.Context, string, string) (mx.Route, error) {
	h := mx.Host{Name: "mx1.e.test", Target: "mx1.e.test", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, TLS: o.level}
	if o.login != nil {
		h.Login = o.login
	}
	return mx.Route{Via: mx.ViaSmartHost, Hosts: []mx.Host{h}}, nil
}

// world is the host, and a sender that knows it.
func (i *inability) world(t *testing.T, form smtptest.Cue) (*smtptest.Host, *smtptest.Internet, *delivery.Sender) {
	t.Helper()
	form.At, form.Said, form.Grouped, form.Nth = i.when.At, i.when.Said, i.when.Grouped, i.when.Nth
	if i.warm {
		form.Nth = 2
	}
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	host := &smtptest.Host{
		Name: "mx1.e.test", Authority: ca, Extensions: i.extensions, Users: map[string]string{"user": password},
		Script: []smtptest.Cue{form}, Allow: []smtptest.Rule{smtptest.RuleAuthClear, smtptest.RuleNoQuit},
	}
	in := (&smtptest.Internet{Zone: "mx1.e.test. A 192.0.2.1\nfrom.test. A 192.0.2.9\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host}}).Start(t)
	if i.login != nil && slices.ContainsFunc(i.extensions, func(e string) bool { return strings.HasPrefix(e, "AUTH EXTERNAL") }) {
		certificate, err := ca.Certificate("user")
		if err != nil {
			t.Fatal(err)
		}
		i.login.Certificate = &certificate
	}
	return host, in, &delivery.Sender{
		Hello: "from.test", Dial: in.DialContext, TLSConfig: ca.ClientConfig(), Router: onlyHost{i.login, i.level},
	}
}

// mail is the nth message.
func (i *inability) mail(n int) *queue.Message {
	m := &queue.Message{
		From: "a@from.test", Recipients: []queue.Recipient{{Address: "u@e.test"}},
		Content: queue.String(fmt.Sprintf("From: a@from.test\r\nTo: u@e.test\r\nMessage-ID: <%d@from.test>\r\n\r\nbody\r\n", n)),
	}
	if i.message != nil {
		i.message(m)
	}
	return m
}

// letter is what a report says of one attempt; 0 where another is due.
func letter(t *testing.T, attempt int, outcome queue.Outcome, err *delivery.Error) byte {
	switch outcome {
	case queue.Delivered:
		return byte('0' + attempt)
	case queue.Failed:
		if !err.Replied() {
			t.Errorf("failed without the host's answer: %v", err)
		}
		return 'F'
	}
	switch {
	case err.LoginRefused():
		return 'L'
	case attempt == 3:
		return 'D'
	}
	return 0
}

// checkInability is what holds whatever the form: one copy of each message that has
// arrived, few connections, and nothing said again that is known not to work.
func (i *inability) checkInability(t *testing.T, host *smtptest.Host, result string) {
	t.Helper()
	host.Check(t)
	copies := map[string]int{}
	for _, m := range host.Messages() {
		_, id, _ := strings.Cut(string(m.Content), "Message-ID: ")
		id, _, _ = strings.Cut(id, "\r\n")
		copies[id]++
	}
	for n := range 2 {
		want := 0
		if result[n] == '1' || result[n] == '2' {
			want = 1
		}
		if got := copies[fmt.Sprintf("<%d@from.test>", n+1)]; got != want {
			t.Errorf("%d copies of message %d, want %d", got, n+1, want)
		}
	}
	if n := len(host.Connections()); n > 8 {
		t.Errorf("%d connections", n)
	}
}

// lastSaid reports whether the host has heard something on its newest connection.
func lastSaid(host *smtptest.Host, what string) bool {
	all := host.Connections()
	for _, l := range all[len(all)-1].Lines {
		words := strings.Fields(l.Text)
		verb := strings.Join(words[:min(2, len(words))], " ") + "|"
		if l.Client && (strings.Contains(l.Text, what) || verb == what) {
			return true
		}
	}
	return false
}

// bySender makes the attempts by hand.
func (i inability) bySender(t *testing.T, form smtptest.Cue) string {
	host, _, sender := i.world(t, form)
	defer sender.Close()
	if i.warm {
		if _, err := sender.Send(t.Context(), i.mail(0)); err != nil {
			t.Fatal(err)
		}
	}
	var result []byte
	for n := range 2 {
		for attempt := 1; len(result) == n; attempt++ {
			report, _ := sender.Send(t.Context(), i.mail(n+1))
			rr := &report.Recipients[0]
			if l := letter(t, attempt, rr.Outcome, rr.Err); l != 0 {
				result = append(result, l)
			}
			i.checkReport(t, rr)
			pass(10 * time.Minute)
		}
	}
	// What was refused is remembered, too; but EHLO, which costs nothing to try.
	if known := form.Reply == "" || i.when.At != smtptest.Hello; known && i.never != "" && result[1] == '1' && lastSaid(host, i.never) {
		t.Errorf("said again what does not work: %q", host.Commands())
	}
	i.checkInability(t, host, string(result))
	return string(result)
}

// checkReport is that a deferral says what is left out the next time.
func (i *inability) checkReport(t *testing.T, rr *delivery.RecipientReport) {
	t.Helper()
	for _, a := range rr.Attempts {
		if (a.Next == delivery.SameHost || a.Next == delivery.InClear) && a.Doubted == "" {
			t.Errorf("another session, and nothing is said of why: %+v", a)
		}
	}
}

// byAgent leaves it to an agent.
func (i inability) byAgent(t *testing.T, form smtptest.Cue) string {
	host, in, sender := i.world(t, form)
	o := newOffice(t, in)
	o.agent.Sender = sender
	o.start()
	if i.warm {
		o.submit(i.mail(0))
		pass(time.Second)
	}
	var result []byte
	for n := range 2 {
		id := o.submit(i.mail(n + 1))
		for len(result) == n {
			pass(10 * time.Minute)
			for _, e := range slices.Concat(o.of(delivery.Delivered), o.of(delivery.Failed), o.of(delivery.Deferred), o.of(delivery.UnknownOutcome), o.of(delivery.LoginRefused)) {
				switch {
				case len(result) > n:
				case e.Kind == delivery.LoginRefused && e.Err.LoginRefused() && time.Since(e.Time) < time.Hour:
					result = append(result, 'L')
				case e.ID != id:
				case e.Kind == delivery.Delivered:
					result = append(result, byte('0'+e.Attempt))
				case e.Kind == delivery.Failed:
					result = append(result, 'F')
				case e.Attempt == 3:
					result = append(result, 'D')
				}
			}
			if time.Since(o.began) > 72*time.Hour {
				result = append(result, '?')
			}
		}
	}
	o.stop()
	i.checkInability(t, host, string(result))
	return string(result)
}

// TestNotThat is a failure that comes again without what may have been its cause:
// that is said again from then on. What does not get as far says nothing about it.
func TestNotThat(t *testing.T) {
	for name, c := range map[string]struct {
		extensions []string
		login      *smarthost.Login
		script     []smtptest.Cue
		said       string   // by the client
		in         []string // the connections in which it is
	}{
		"SIZE": {[]string{"SIZE"}, nil, []smtptest.Cue{
			{At: smtptest.Mail, Conn: 1, Then: smtptest.Close}, {At: smtptest.Mail, Conn: 2, Then: smtptest.Close},
		}, " SIZE=", []string{"1", "3"}},
		"EHLO": {nil, nil, []smtptest.Cue{
			{At: smtptest.Hello, Conn: 1, Then: smtptest.Close}, {At: smtptest.Hello, Conn: 2, Then: smtptest.Close},
		}, "EHLO", []string{"1", "3"}},
		"EHLO, and a host that is down": {nil, nil, []smtptest.Cue{
			{At: smtptest.Hello, Conn: 1, Then: smtptest.Close}, {At: smtptest.Banner, Conn: 2, Reply: "421 down"},
		}, "EHLO", []string{"1"}},
		"an initial response": {[]string{"AUTH PLAIN"}, user(), []smtptest.Cue{
			{At: smtptest.Auth, Conn: 1, Then: smtptest.Close}, {At: smtptest.Auth, Conn: 2, Then: smtptest.Close},
		}, "AUTH PLAIN ", []string{"1", "3"}},
		"PIPELINING, refused at the greeting": {[]string{"PIPELINING"}, nil, []smtptest.Cue{
			{At: smtptest.Rcpt, Conn: 1, Then: smtptest.Close}, {At: smtptest.Hello, Conn: 2, Reply: "421 busy"},
		}, "MAIL", []string{"1", "3"}},
	} {
		t.Run("SMTP-20 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{
					Extensions: c.extensions, Script: c.script, Users: map[string]string{"user": password},
					Allow: []smtptest.Rule{smtptest.RuleNoQuit, smtptest.RuleAuthClear},
				}
				in := (&smtptest.Internet{Zone: "mx1.e.test. A 192.0.2.1\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host}}).Start(t)
				sender := &delivery.Sender{Hello: "from.test", Dial: in.DialContext, Router: onlyHost{c.login, mx.TLSNone}, MaxIdle: -1}
				defer sender.Close()
				for range 3 {
					_, _ = sender.Send(t.Context(), message("u@e.test"))
					pass(10 * time.Minute)
				}
				var heard []string
				for _, conn := range host.Connections() {
					if slices.ContainsFunc(conn.Lines, func(l smtptest.Line) bool { return l.Client && strings.Contains(l.Text, c.said) }) {
						heard = append(heard, fmt.Sprint(conn.Number))
					}
				}
				if !slices.Equal(heard, c.in) || len(host.Messages()) != 1 {
					t.Errorf("%q was said in the connections %v, want %v; %d messages", c.said, heard, c.in, len(host.Messages()))
				}
			})
		})
	}
}

// TestLostCommand is a host that loses a command of a group, so that replies no
// longer fit: the mail arrives, one by one, in the next attempt, or at once where the
// replies that came say so.
func TestLostCommand(t *testing.T) {
	for _, extensions := range [][]string{{"PIPELINING"}, {"PIPELINING", "CHUNKING"}} {
		for _, at := range []smtptest.Stage{smtptest.Rcpt, smtptest.Data} {
			if at == smtptest.Data && len(extensions) == 2 {
				continue
			}
			t.Run(fmt.Sprintf("EXT-8 %v of a group, %v", at, extensions), func(t *testing.T) {
				i, want := inability{extensions: extensions, when: smtptest.Cue{At: at, Grouped: true}}, "21"
				if at == smtptest.Rcpt && len(extensions) == 1 {
					want = "11" // the reply to DATA answers RCPT, and asks for one
				}
				synctest.Test(t, func(t *testing.T) {
					if got := i.bySender(t, smtptest.Cue{Then: smtptest.Skip}); got != want {
						t.Errorf("by a Sender: %s", got)
					}
				})
				synctest.Test(t, func(t *testing.T) {
					if got := i.byAgent(t, smtptest.Cue{Then: smtptest.Skip}); got != want {
						t.Errorf("by an Agent: %s", got)
					}
				})
			})
		}
	}
}

func TestInabilities(t *testing.T) {
	cells := 0
	for _, grid := range []string{inabilities, inabilitiesAtLogin} {
		table := matrixCells(grid)
		for _, form := range slices.Sorted(maps.Keys(table)) {
			for _, option := range slices.Sorted(maps.Keys(table[form])) {
				want := table[form][option]
				cells++
				t.Run("SMTP-3, SMTP-25, TLS-4, EXT-19, EXT-20 "+option+" shown by "+form, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						if got := inabilityOf(option).bySender(t, inabilityForm(form)); got != want {
							t.Errorf("by a Sender: %s, want %s", got, want)
						}
					})
					if strings.Contains(want, "L") {
						return // an agent leaves the host alone, as agent_login_test.go shows
					}
					synctest.Test(t, func(t *testing.T) {
						if got := inabilityOf(option).byAgent(t, inabilityForm(form)); got != want {
							t.Errorf("by an Agent: %s, want %s", got, want)
						}
					})
				})
			}
		}
	}
	t.Logf("%d cells, each by a Sender and by an Agent", cells)
}
