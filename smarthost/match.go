package smarthost

import (
	"strings"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// ruleSet is Rules as they are searched. It does not change.
type ruleSet struct {
	to       map[string]bySender // by canonical To; "" is any
	fallback []Host

	fallbackID string
}

// bySender has the rules with one To, by canonical From; "" means any sender.
type bySender map[string]*target

// target is where a rule sends mail.
type target struct {
	byMX  bool
	hosts []Host
}

// add puts a rule in; false if its place is taken.
func (s *ruleSet) add(to, from string, t *target) bool {
	senders := s.to[to]
	if senders == nil {
		senders = bySender{}
		s.to[to] = senders
	}
	if senders[from] != nil {
		return false
	}
	senders[from] = t
	return true
}

// match returns the rule for a message to a canonical domain, or nil if there is none.
func (s *ruleSet) match(from, domain string) *target {
	if len(s.to) == 0 {
		return nil
	}
	keys := senderKeys(from)
	for _, to := range patterns(domain) {
		if t := s.to[to].match(keys); t != nil {
			return t
		}
	}
	return s.to[""].match(keys)
}

func (b bySender) match(keys []string) *target {
	for _, from := range keys {
		if t := b[from]; t != nil {
			return t
		}
	}
	return b[""]
}

// senderKeys returns the Froms that match a reverse-path, the most specific first. An
// invalid address matches only the empty one.
func senderKeys(from string) []string {
	m, err := address.ParseReverse(from)
	switch {
	case err != nil:
		return nil
	case m.IsNull():
		return []string{nobody}
	default:
		return append([]string{senderKey(m)}, patterns(m.Domain().String())...)
	}
}

// patterns are the domain itself and every ".parent" of it, the longest first.
func patterns(domain string) []string {
	list := []string{domain}
	if strings.HasPrefix(domain, "[") {
		return list
	}
	for i := 0; i < len(domain); i++ {
		if domain[i] == '.' {
			list = append(list, domain[i:])
		}
	}
	return list
}
