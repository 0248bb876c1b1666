package delivery

import (
	"bytes"
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// MarshalText returns the same text as String, for JSON and the like.
func (p Protection) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// seconds are a duration as JSON has it, to the microsecond.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1e6) / 1e6 }

// instant is a time as JSON has it, empty for the zero one.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// addrText returns an address as text, or "" if there is none.
func addrText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// object returns v as JSON with unescaped angle brackets, which occur in replies and
// ids of messages. The encoder that includes it decides about escaping again.
func object(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// fields are the members of an object on their way into JSON, as object has them. An event
// is encoded so, since there are two of each message.
type fields struct {
	b   []byte
	err error
}

// newFields begins an object of about so many octets.
func newFields(size int) fields { return fields{b: append(make([]byte, 0, size), '{')} }

// name begins a member.
func (f *fields) name(name string) {
	if f.b[len(f.b)-1] != '{' {
		f.b = append(f.b, ',')
	}
	f.b = append(append(append(f.b, '"'), name...), '"', ':')
}

func (f *fields) text(name, value string) {
	f.name(name)
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

// textIf is text if there is any.
func (f *fields) textIf(name, value string) {
	if value != "" {
		f.text(name, value)
	}
}

func (f *fields) number(name string, n int) {
	f.name(name)
	f.b = strconv.AppendInt(f.b, int64(n), 10)
}

// secondsIf is a duration that is not zero, in seconds.
func (f *fields) secondsIf(name string, d time.Duration) {
	if v := seconds(d); v != 0 {
		f.name(name)
		f.b = strconv.AppendFloat(f.b, v, 'f', -1, 64)
	}
}

func (f *fields) value(name string, v any) {
	f.name(name)
	f.encode(v)
}

// encode appends a value of any kind.
func (f *fields) encode(v any) {
	b, err := object(v)
	f.b = append(f.b, b...)
	if f.err == nil {
		f.err = err
	}
}

// object is all of them.
func (f *fields) object() ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	return append(f.b, '}'), nil
}

// stages are those that took time.
func (f *fields) stages(s *Stages) {
	f.secondsIf("dns", s.DNS)
	f.secondsIf("connect", s.Connect)
	f.secondsIf("hello", s.Hello)
	f.secondsIf("tls", s.TLS)
	f.secondsIf("mail", s.Mail)
	f.secondsIf("content", s.Content)
	f.secondsIf("reply", s.Reply)
}

// stagesIf is an object of stages if one took time.
func (f *fields) stagesIf(s *Stages) {
	before := len(f.b)
	f.name("stages")
	f.b = append(f.b, '{')
	empty := len(f.b)
	if f.stages(s); len(f.b) == empty {
		f.b = f.b[:before]
		return
	}
	f.b = append(f.b, '}')
}

// MarshalJSON returns the stages that took time, in seconds: dns, connect, hello, tls,
// mail, content, reply.
func (s Stages) MarshalJSON() ([]byte, error) {
	f := newFields(128)
	f.stages(&s)
	return f.object()
}

// MarshalJSON returns the event as an object:
//
//   - always time (RFC 3339, UTC), event (the Kind), id, from, recipient, attempt,
//     host, addr, code, enhanced, reply and tls, which are empty or 0 if they do not
//     apply;
//   - if they apply, next, destination (of events that are not about a message),
//     tenant, route, stage (the one that decided), elsewhere (as in an Error), duration, age (both in seconds),
//     stages (in the form of Stages), size (of the message, in octets), bounce (the id of the report) and metadata;
//   - decision, if a policy holds the mail back, or there is a problem with one.
func (e Event) MarshalJSON() ([]byte, error) {
	kind, err := e.Kind.MarshalText()
	if err != nil {
		return nil, err
	}
	f := newFields(512)
	f.text("time", instant(e.Time))
	f.text("event", string(kind))
	f.text("id", e.ID)
	f.text("from", e.From)
	f.text("recipient", e.Recipient)
	f.number("attempt", e.Attempt)
	f.text("host", e.Host)
	f.text("addr", addrText(e.Addr))
	f.number("code", e.Code)
	f.text("enhanced", e.Enhanced)
	f.text("reply", e.Reply)
	tls := ""
	if e.Addr.IsValid() {
		tls = e.TLS.String()
	}
	f.text("tls", tls)
	f.textIf("next", instant(e.Next))
	if e.ID == "" {
		f.textIf("destination", e.Destination)
	}
	f.textIf("tenant", e.Tenant)
	if e.Host != "" && e.Attempt > 0 {
		f.textIf("route", e.Via.String())
	}
	if e.Err != nil {
		f.textIf("stage", e.Err.Stage.String())
		if e.Err.Replied() {
			f.textIf("elsewhere", e.Err.Elsewhere)
		}
	}
	f.secondsIf("duration", e.Duration)
	f.stagesIf(&e.Stages)
	f.secondsIf("age", e.Age)
	if e.Size > 0 {
		f.number("size", int(e.Size))
	}
	f.textIf("bounce", e.BounceID)
	if len(e.Metadata) > 0 {
		f.value("metadata", e.Metadata)
	}
	if d := e.Decision.worthTelling(); d != nil {
		f.value("decision", d)
	}
	return f.object()
}

// MarshalJSON returns the error as an object with stage, host, addr, recipient, code,
// enhanced, error (the Reason), verdict and temporary. login_refused, remembered and
// at_most_once are included if true, and delivered and recipients if the message had
// several recipients.
func (e *Error) MarshalJSON() ([]byte, error) {
	return object(struct {
		Stage        Stage   `json:"stage"`
		Host         string  `json:"host"`
		Addr         string  `json:"addr"`
		Recipient    string  `json:"recipient"`
		Code         int     `json:"code"`
		Enhanced     string  `json:"enhanced"`
		Error        string  `json:"error"`
		Verdict      Verdict `json:"verdict"`
		Temporary    bool    `json:"temporary"`
		LoginRefused bool    `json:"login_refused,omitempty"`
		Delivered    int     `json:"delivered,omitzero"`
		Recipients   int     `json:"recipients,omitzero"`
		Remembered   bool    `json:"remembered,omitempty"`
		AtMostOnce   bool    `json:"at_most_once,omitempty"`
	}{
		e.Stage, e.Host, addrText(e.Addr), e.Recipient, e.Code, e.Enhanced, e.Reason(), e.Verdict, e.Temporary(),
		e.LoginRefused(), e.Delivered, e.Recipients, e.Remembered, e.AtMostOnce,
	})
}

// MarshalJSON returns the attempt as an object with host, addr, stage (the last one),
// code, enhanced, error (empty if the message was accepted), permanent, tls, verdict,
// next, began, duration and stages. If they apply, it also has reused, without and
// doubted, and decision in the form of an Event.
func (a Attempt) MarshalJSON() ([]byte, error) {
	v := struct {
		Host      string     `json:"host"`
		Addr      string     `json:"addr"`
		Stage     Stage      `json:"stage"`
		Code      int        `json:"code"`
		Enhanced  string     `json:"enhanced"`
		Error     string     `json:"error"`
		Permanent bool       `json:"permanent"`
		TLS       Protection `json:"tls"`
		Verdict   Verdict    `json:"verdict"`
		Next      Next       `json:"next"`
		Began     string     `json:"began,omitempty"`
		Duration  float64    `json:"duration"`
		Stages    Stages     `json:"stages,omitzero"`
		Reused    bool       `json:"reused,omitempty"`
		Without   string     `json:"without,omitempty"`
		Doubted   string     `json:"doubted,omitempty"`
		Decision  *Decision  `json:"decision,omitempty"`
	}{
		Host: a.Host, Addr: addrText(a.Addr), Stage: StageContent, TLS: a.TLS, Verdict: a.Verdict, Next: a.Next, Began: instant(a.Began),
		Duration: seconds(a.Duration), Stages: a.Stages, Reused: a.Reused, Without: a.Without, Doubted: a.Doubted,
		Decision: a.Decision.worthTelling(),
	}
	if e := a.Err; e != nil {
		v.Stage, v.Code, v.Enhanced, v.Error, v.Permanent = e.Stage, e.Code, e.Enhanced, e.Reason(), !e.Temporary()
	}
	return object(v)
}

// MarshalJSON returns the report as an object with recipients, in the form of
// RecipientReport.
func (r *Report) MarshalJSON() ([]byte, error) {
	return object(struct {
		Recipients []RecipientReport `json:"recipients"`
	}{r.Recipients})
}

// MarshalJSON returns the report as an object with recipient, status (delivered,
// deferred or failed), unknown if the message may have been delivered (its status is
// then deferred), route (empty if none was looked for), host, addr, code, enhanced,
// reply, tls, and attempts, in the form of Attempt.
func (r RecipientReport) MarshalJSON() ([]byte, error) {
	v := struct {
		Recipient string        `json:"recipient"`
		Status    queue.Outcome `json:"status"`
		Unknown   bool          `json:"unknown,omitempty"`
		Route     string        `json:"route"`
		Host      string        `json:"host"`
		Addr      string        `json:"addr"`
		Code      int           `json:"code"`
		Enhanced  string        `json:"enhanced"`
		Reply     string        `json:"reply"`
		TLS       Protection    `json:"tls"`
		Attempts  []Attempt     `json:"attempts"`
	}{
		r.Address, r.Outcome, r.Outcome == queue.Unknown, "", r.Host, addrText(r.Addr), r.Reply.Code, r.Reply.Enhanced,
		r.Reply.Text, r.TLS, r.Attempts,
	}
	if r.Via != mx.ViaNone {
		v.Route = r.Via.String()
	}
	if v.Unknown {
		v.Status = queue.Deferred
	}
	if v.Attempts == nil {
		v.Attempts = []Attempt{}
	}
	return object(v)
}

// hostJSON is a next hop of an Explanation.
type hostJSON struct {
	Name        string       `json:"name"`
	Target      string       `json:"target,omitempty"`
	Preference  uint16       `json:"preference"`
	Port        uint16       `json:"port,omitzero"`
	Addrs       []netip.Addr `json:"addrs"`
	ImplicitTLS bool         `json:"implicit_tls,omitempty"`
	Login       string       `json:"login,omitempty"`
	TLS         mx.TLSLevel  `json:"tls"`
	Source      string       `json:"source,omitempty"`
	ServerName  string       `json:"server_name,omitempty"`
	Error       string       `json:"error,omitempty"`
	Limits      string       `json:"limits,omitempty"`
}

type leftOutJSON struct {
	Name       string    `json:"name"`
	Preference uint16    `json:"preference"`
	Reason     mx.Reason `json:"reason"`
	Error      string    `json:"error,omitempty"`
}

// MarshalJSON returns the explanation as an object with domain, route (the kind),
// secure (whether DNSSEC authenticates it), aliases, hosts and left_out. If they apply,
// it also has site, fallback (an explanation like this one) and error (in the form of
// Error).
//
// Each of hosts has name, preference, addrs and tls (the level), and if they apply,
// target, port, implicit_tls, login (the name), source (of the level), server_name,
// error (why there is no policy for now) and limits. Each of left_out has name,
// preference and reason, and error if a lookup failed. It contains no secrets.
func (e *Explanation) MarshalJSON() ([]byte, error) {
	v := struct {
		Domain   string        `json:"domain"`
		Route    mx.Via        `json:"route"`
		Secure   bool          `json:"secure"`
		Aliases  []string      `json:"aliases,omitempty"`
		Hosts    []hostJSON    `json:"hosts"`
		LeftOut  []leftOutJSON `json:"left_out"`
		Site     string        `json:"site,omitempty"`
		Fallback *Explanation  `json:"fallback,omitempty"`
		Error    *Error        `json:"error,omitempty"`
	}{
		Domain: e.Domain, Route: e.Route.Via, Secure: e.Route.Secure, Hosts: []hostJSON{}, LeftOut: []leftOutJSON{},
		Site: e.Site, Fallback: e.Fallback, Error: e.Err,
	}
	for _, a := range e.Route.Aliases {
		v.Aliases = append(v.Aliases, a.To)
	}
	for i := range e.Route.Hosts {
		v.Hosts = append(v.Hosts, e.hostJSON(i))
	}
	for i := range e.Route.LeftOut {
		l := &e.Route.LeftOut[i]
		out := leftOutJSON{Name: l.Host.Name, Preference: l.Host.Preference, Reason: l.Reason}
		if l.Err != nil {
			out.Error = l.Err.Error()
		}
		v.LeftOut = append(v.LeftOut, out)
	}
	return object(v)
}

func (e *Explanation) hostJSON(i int) hostJSON {
	h := &e.Route.Hosts[i]
	v := hostJSON{Name: h.Name, Preference: h.Preference, Port: h.Port, Addrs: h.Addrs, ImplicitTLS: h.ImplicitTLS}
	if h.Target != h.Name {
		v.Target = h.Target
	}
	if v.Addrs == nil {
		v.Addrs = []netip.Addr{}
	}
	if h.Login != nil {
		v.Login = h.Login.LoginName()
	}
	if i < len(e.Policies) {
		p := &e.Policies[i]
		if v.TLS, v.Source = p.Policy.Level, p.Policy.Source; p.Policy.Level == mx.TLSVerify {
			v.ServerName = p.Policy.ServerName
		}
		if p.Err != nil {
			v.Error = p.Err.Error()
		}
	}
	if i < len(e.Limits) {
		v.Limits = e.Limits[i].String()
	}
	return v
}
