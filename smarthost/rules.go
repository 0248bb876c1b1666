package smarthost

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// Rules are the rules of a Table. The zero value sends all mail by MX records.
type Rules struct {
	// Default are the smart hosts for mail that matches no rule in Special. If empty, this
	// mail goes by MX records.
	Default []Host

	// Special are the exceptions; their order does not matter.
	Special []Rule

	// Fallback are hosts for mail that goes by MX records. They are tried in the same
	// attempt once every MX host has failed temporarily.
	Fallback []Host
}

// Rule says where some mail goes: to Hosts, or by MX records.
type Rule struct {
	// To is the recipient's domain. ".example.com" matches every subdomain of example.com,
	// but not the domain itself. If empty, every domain matches.
	To string

	// From is the sender's address or its domain: "alice@example.com", "example.com",
	// ".example.com" for every subdomain, or "<>" for the null reverse-path. The case of
	// local parts is ignored. If empty, every sender matches.
	From string

	// MX sends the mail by MX records, as an exception to less specific rules.
	MX bool

	// Hosts are the smart hosts. Required if MX is false.
	Hosts []Host
}

// Validate says everything that is wrong with the rules, each problem with the name of its
// field. The error is nil if nothing is wrong, and contains no secret.
func (r Rules) Validate() error {
	_, err := compile(r)
	return err
}

// compile makes rules that can be searched.
func compile(r Rules) (*ruleSet, error) {
	c := compiler{set: &ruleSet{to: make(map[string]bySender)}}
	c.set.fallback, c.set.fallbackID = c.hosts("Fallback", r.Fallback), rand.Text()
	if len(r.Default) > 0 {
		c.set.add("", "", &target{hosts: c.hosts("Default", r.Default)})
	}
	for i := range r.Special {
		c.rule(fmt.Sprintf("Special[%d]", i), &r.Special[i])
	}
	return c.set, errors.Join(c.problems...)
}

// compiler collects the errors in rules while it reads them.
type compiler struct {
	set      *ruleSet
	problems []error
}

func (c *compiler) wrong(field, format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf("smarthost.Rules."+field+": "+format, args...))
}

func (c *compiler) rule(field string, r *Rule) {
	to, isDomain := canonicalPattern(r.To)
	if !isDomain {
		c.wrong(field+".To", "no domain")
	}
	from, isSender := canonicalSender(r.From)
	if !isSender {
		c.wrong(field+".From", "neither an address nor a domain")
	}
	t := &target{byMX: r.MX, hosts: c.hosts(field+".Hosts", r.Hosts)}
	switch {
	case r.MX && len(r.Hosts) > 0:
		c.wrong(field, "both MX and Hosts")
	case !r.MX && len(r.Hosts) == 0:
		c.wrong(field+".Hosts", "required if MX is false")
	}
	if isDomain && isSender && !c.set.add(to, from, t) {
		c.wrong(field, "there is another rule for the same mail")
	}
}

func (c *compiler) hosts(field string, hosts []Host) []Host {
	out := make([]Host, 0, len(hosts))
	for i := range hosts {
		h, err := hosts[i].canonical()
		if err != nil {
			c.wrong(fmt.Sprintf("%s[%d]", field, i), "%w", err)
		}
		out = append(out, h)
	}
	return out
}

// canonicalPattern is a domain, or every subdomain of one, in canonical form.
func canonicalPattern(s string) (string, bool) {
	if s == "" {
		return "", true
	}
	name, sub := strings.CutPrefix(s, ".")
	d, err := address.ParseDomain(name)
	if err != nil {
		return "", false
	}
	if !sub {
		return d.String(), true
	}
	_, literal := d.Literal()
	return "." + d.String(), !literal
}

// nobody is the key of the null reverse-path.
const nobody = "<>"

// canonicalSender is a From in canonical form.
func canonicalSender(s string) (string, bool) {
	if s == nobody || !strings.Contains(s, "@") {
		if s == nobody {
			return s, true
		}
		return canonicalPattern(s)
	}
	m, err := address.Parse(s)
	return senderKey(m), err == nil
}

// senderKey is an address as rules compare it.
func senderKey(m address.Mailbox) string {
	return strings.ToLower(m.Local()) + "@" + m.Domain().String()
}
