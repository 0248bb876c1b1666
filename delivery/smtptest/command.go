package smtptest

import (
	"strings"
)

// command is a line a client sent, taken apart.
type command struct {
	verb   string // in upper case
	arg    string // all that follows the verb and a blank
	path   string // of MAIL and RCPT, without brackets and source route
	params []string
	found  []finding
	broken bool // not to be understood: 501
}

// finding is a rule a command breaks by its looks.
type finding struct {
	rule   Rule
	detail string
}

func (c *command) find(r Rule, detail string) { c.found = append(c.found, finding{r, detail}) }

// parseCommand takes apart a line that may or may not end in CRLF or LF.
func parseCommand(line string) command {
	var c command
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok {
		text = strings.TrimSuffix(line, "\n")
		c.find(RuleLineEnd, line)
	}
	c.scan(text)
	if strings.HasSuffix(text, " ") || strings.HasSuffix(text, "\t") {
		c.find(RuleTrailingBlank, text)
		text = strings.TrimRight(text, " \t")
	}
	c.verb, c.arg, _ = strings.Cut(text, " ")
	c.verb = strings.ToUpper(c.verb)
	switch c.verb {
	case "MAIL":
		c.parsePath("FROM")
	case "RCPT":
		c.parsePath("TO")
	case "DATA", "RSET", "QUIT", "STARTTLS":
		if c.arg != "" {
			c.find(RuleArgument, text)
			c.broken = true
		}
	}
	return c
}

// scan looks for octets that stand in no command.
func (c *command) scan(text string) {
	var cr, control bool
	for i := range len(text) {
		switch b := text[i]; {
		case b == '\r':
			cr = true
		case b < ' ' || b == 0x7f:
			control = true
		}
	}
	if cr {
		c.find(RuleLineEnd, text)
	}
	if control {
		c.find(RuleControl, text)
	}
}

// parsePath reads `FROM:<path> params`.
func (c *command) parsePath(keyword string) {
	rest := c.arg
	name, rest, ok := strings.Cut(rest, ":")
	if !ok || !strings.EqualFold(strings.TrimSpace(name), keyword) {
		c.find(RulePath, c.verb+" "+c.arg)
		c.broken = true
		return
	}
	trimmed := strings.TrimLeft(rest, " \t")
	if len(trimmed) != len(rest) || strings.TrimSpace(name) != name {
		c.find(RuleBlankColon, c.verb+" "+c.arg)
	}
	path, rest, ok := cutPath(trimmed)
	if !ok {
		c.find(RulePath, c.verb+" "+c.arg)
		c.broken = true
		return
	}
	c.path = c.dropRoute(path)
	c.checkPath(keyword)
	if rest == "" {
		return
	}
	c.params = strings.Fields(rest)
	if strings.Join(c.params, " ") != rest[1:] || rest[0] != ' ' {
		c.find(RulePath, c.verb+" "+c.arg)
	}
}

// cutPath splits `<path> rest`; a `>` inside a quoted string does not end it.
func cutPath(text string) (path, rest string, ok bool) {
	if !strings.HasPrefix(text, "<") {
		return "", "", false
	}
	quoted := false
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quoted:
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == '>' && !quoted:
			return text[1:i], text[i+1:], true
		}
	}
	return "", "", false
}

// dropRoute takes `@a,@b:` off a path.
func (c *command) dropRoute(path string) string {
	if !strings.HasPrefix(path, "@") {
		return path
	}
	c.find(RuleSourceRoute, path)
	_, mailbox, _ := strings.Cut(path, ":")
	return mailbox
}

// checkPath looks at the shape of the mailbox.
func (c *command) checkPath(keyword string) {
	if c.path == "" {
		if keyword == "TO" {
			c.find(RulePath, "RCPT TO:<>")
			c.broken = true
		}
		return
	}
	local, domain, ok := cutMailbox(c.path)
	switch {
	case !ok && !(keyword == "TO" && strings.EqualFold(c.path, "postmaster")):
		c.find(RulePath, c.path)
		return
	case ok && !validLocal(local):
		c.find(RulePath, c.path)
	}
	if len(local) > 64 {
		c.find(RuleLongLocalPart, c.path)
	}
	if len(domain) > 255 {
		c.find(RuleLongDomain, c.path)
	}
	if ok && !validDomain(domain) {
		c.find(RulePath, c.path)
	}
}

// cutMailbox splits a mailbox at its last unquoted @.
func cutMailbox(mailbox string) (local, domain string, ok bool) {
	at, quoted := -1, false
	for i := 0; i < len(mailbox); i++ {
		switch {
		case mailbox[i] == '\\' && quoted:
			i++
		case mailbox[i] == '"':
			quoted = !quoted
		case mailbox[i] == '@' && !quoted:
			at = i
		}
	}
	if at <= 0 || at == len(mailbox)-1 || quoted {
		return mailbox, "", false
	}
	return mailbox[:at], mailbox[at+1:], true
}

// validLocal is a dot-string or a quoted string; octets of UTF-8 count as text.
func validLocal(s string) bool {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return !strings.ContainsAny(s, "\r\n\x00")
	}
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsAny(atom, " \t\"(),:;<>@[\\]") {
			return false
		}
	}
	return true
}

// validDomain is a domain or an address literal by its looks. Domains that get mail
// may have underscores, and hyphens anywhere.
func validDomain(s string) bool {
	if strings.HasPrefix(s, "[") {
		return validLiteral(s)
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			if b := label[i]; !(b == '-' || b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80) {
				return false
			}
		}
	}
	return true
}
