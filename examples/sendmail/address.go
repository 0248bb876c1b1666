//go:build unix

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/examples/internal/compose"
)

// rewrite is what a sender becomes.
type rewrite struct{ pattern, address string }

// parseRewrite parses PATTERN=ADDRESS.
func parseRewrite(text string) (rewrite, error) {
	pattern, address, ok := strings.Cut(text, "=")
	r := rewrite{strings.TrimSpace(pattern), strings.TrimSpace(address)}
	if !ok || r.pattern == "" || !strings.Contains(r.address, "@") || strings.HasSuffix(r.address, "@") {
		return r, fmt.Errorf("rewrite: %q is not PATTERN=ADDRESS", text)
	}
	return r, nil
}

// addAlias parses NAME=ADDRESS,...
func (c *config) addAlias(text string) error {
	name, value, ok := strings.Cut(text, "=")
	list, err := compose.Addresses(value)
	name = strings.ToLower(strings.TrimSpace(name))
	if !ok || name == "" || err != nil || len(list) == 0 || strings.Contains(name, "@") {
		return fmt.Errorf("alias: %q is not NAME=ADDRESS,...", text)
	}
	c.aliasOf[name] = append(c.aliasOf[name], list...)
	return nil
}

// qualify gives a local name a domain.
func (c *config) qualify(address string) string {
	if address == "" || strings.Contains(address, "@") {
		return address
	}
	return address + "@" + c.domain
}

// local is the local name that an address is, if it is one.
func (c *config) local(address string) (name string, ok bool) {
	name, domain, qualified := strings.Cut(address, "@")
	return strings.ToLower(name), !qualified || strings.EqualFold(domain, c.domain)
}

// expand resolves the aliases of a recipient. An alias may name others; one that leads
// back to itself is the address that it is.
func (c *config) expand(address string, by ...string) (all []string) {
	name, ok := c.local(address)
	to := c.aliasOf[name]
	if ok && to == nil {
		to = c.aliasOf["*"]
	}
	if !ok || to == nil || slices.Contains(by, name) || len(by) > maxAliases {
		return []string{c.qualify(address)}
	}
	for _, a := range to {
		all = append(all, c.expand(a, append(slices.Clip(by), name)...)...)
	}
	return all
}

// maxAliases is how many aliases may lead to one another.
const maxAliases = 10

// sender is what a sender becomes by the first rule that fits. The null reverse-path stays.
func (c *config) sender(address string) string {
	if address == "" {
		return ""
	}
	address = c.qualify(address)
	local, domain := address[:strings.LastIndexByte(address, '@')], address[strings.LastIndexByte(address, '@'):]
	for _, r := range c.rewriting {
		name, ok := c.local(address)
		if r.pattern != "*" && !strings.EqualFold(r.pattern, domain) && !strings.EqualFold(r.pattern, address) && !(ok && strings.EqualFold(r.pattern, name)) {
			continue
		}
		if strings.HasPrefix(r.address, "@") {
			return local + r.address
		}
		return r.address
	}
	return address
}

// rewriteHeader gives the addresses of a header domains, and senders the addresses that
// they have outside. A field that cannot be read stays as it is.
func (c *config) rewriteHeader(h *compose.Header) {
	for name, f := range map[string]func(string) string{
		"From": c.sender, "Sender": c.sender, "Reply-To": c.sender, "To": c.qualify, "Cc": c.qualify,
	} {
		before := h.Get(name)
		if after, err := compose.MapAddresses(before, f); err == nil && after != before {
			h.Set(name, after)
		}
	}
}
