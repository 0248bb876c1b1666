package delivery

import (
	"net/netip"

	"github.com/nexthop-mail/nexthop/delivery/internal/object"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// MarshalText returns the same text as String, for JSON and the like.
func (p Protection) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// MarshalJSON returns the stages that took time, in seconds: dns, connect, hello, tls,
// mail, content, reply.
func (s Stages) MarshalJSON() ([]byte, error) {
	f := object.New(128)
	s.appendTo(&f)
	return f.Object()
}

// appendTo appends the stages that took time.
func (s *Stages) appendTo(f *object.Fields) {
	f.SecondsIf("dns", s.DNS)
	f.SecondsIf("connect", s.Connect)
	f.SecondsIf("hello", s.Hello)
	f.SecondsIf("tls", s.TLS)
	f.SecondsIf("mail", s.Mail)
	f.SecondsIf("content", s.Content)
	f.SecondsIf("reply", s.Reply)
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
	f := object.New(512)
	f.Text("time", object.Instant(e.Time))
	f.Text("event", string(kind))
	f.Text("id", e.ID)
	f.Text("from", e.From)
	f.Text("recipient", e.Recipient)
	f.Number("attempt", e.Attempt)
	f.Text("host", e.Host)
	f.Text("addr", object.Addr(e.Addr))
	f.Number("code", e.Code)
	f.Text("enhanced", e.Enhanced)
	f.Text("reply", e.Reply)
	tls := ""
	if e.Addr.IsValid() {
		tls = e.TLS.String()
	}
	f.Text("tls", tls)
	f.TextIf("next", object.Instant(e.Next))
	if e.ID == "" {
		f.TextIf("destination", e.Destination)
	}
	f.TextIf("tenant", e.Tenant)
	if e.Host != "" && e.Attempt > 0 {
		f.TextIf("route", e.Via.String())
	}
	if e.Err != nil {
		f.TextIf("stage", e.Err.Stage.String())
		if e.Err.Replied() {
			f.TextIf("elsewhere", e.Err.Elsewhere)
		}
	}
	f.SecondsIf("duration", e.Duration)
	f.ObjectIf("stages", e.Stages.appendTo)
	f.SecondsIf("age", e.Age)
	if e.Size > 0 {
		f.Number("size", int(e.Size))
	}
	f.TextIf("bounce", e.BounceID)
	if len(e.Metadata) > 0 {
		f.Value("metadata", e.Metadata)
	}
	if d := e.Decision.worthTelling(); d != nil {
		f.Value("decision", d)
	}
	return f.Object()
}

// MarshalJSON returns the error as an object with stage, host, addr, recipient, code,
// enhanced, error (the Reason), verdict and temporary. login_refused, remembered and
// at_most_once are included if true, and delivered and recipients if the message had
// several recipients.
func (e *Error) MarshalJSON() ([]byte, error) {
	return object.Encode(struct {
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
		e.Stage, e.Host, object.Addr(e.Addr), e.Recipient, e.Code, e.Enhanced, e.Reason(), e.Verdict, e.Temporary(),
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
		Host: a.Host, Addr: object.Addr(a.Addr), Stage: StageContent, TLS: a.TLS, Verdict: a.Verdict, Next: a.Next, Began: object.Instant(a.Began),
		Duration: object.Seconds(a.Duration), Stages: a.Stages, Reused: a.Reused, Without: a.Without, Doubted: a.Doubted,
		Decision: a.Decision.worthTelling(),
	}
	if e := a.Err; e != nil {
		v.Stage, v.Code, v.Enhanced, v.Error, v.Permanent = e.Stage, e.Code, e.Enhanced, e.Reason(), !e.Temporary()
	}
	return object.Encode(v)
}

// MarshalJSON returns the report as an object with recipients, in the form of
// RecipientReport.
func (r *Report) MarshalJSON() ([]byte, error) {
	return object.Encode(struct {
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
		r.Address, r.Outcome, r.Outcome == queue.Unknown, "", r.Host, object.Addr(r.Addr), r.Reply.Code, r.Reply.Enhanced,
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
	return object.Encode(v)
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
	return object.Encode(v)
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
