package smtptest

import (
	"maps"
	"slices"
)

// Rule is a requirement of the standards for SMTP clients. Its value is its name.
type Rule string

// The rules about lines and the order of commands.
const (
	RuleEarlyTalk        Rule = "talk before the greeting"
	RuleLineEnd          Rule = "line not ended by CRLF"
	RuleControl          Rule = "control character in a command"
	RuleNonASCII         Rule = "non-ASCII in a command"
	RuleLongCommand      Rule = "command too long"
	RuleUnknownCommand   Rule = "unknown command"
	RuleNotOffered       Rule = "command that was not offered"
	RuleArgument         Rule = "argument where none belongs"
	RuleTrailingBlank    Rule = "blank at the end of a command"
	RuleHelloFirst       Rule = "mail command before EHLO"
	RuleHelloName        Rule = "EHLO argument that is neither a domain nor an address literal"
	RuleLocalhost        Rule = "EHLO localhost"
	RuleNestedMail       Rule = "MAIL inside a transaction"
	RuleSequence         Rule = "command out of sequence"
	RulePipelining       Rule = "command ahead of a reply, without PIPELINING"
	RuleGroupEnd         Rule = "something after a command that ends a group"
	RuleCommandAfter421  Rule = "command after 421"
	RuleNoQuit           Rule = "connection closed without QUIT"
	RuleQuitWait         Rule = "connection closed without waiting for the reply to QUIT"
	RuleRecipientLimit   Rule = "more recipients than LIMITS allows"
	RuleMessageLimit     Rule = "more messages than LIMITS allows"
	RuleDomainLimit      Rule = "more recipient domains than LIMITS allows"
	RulePlaintext        Rule = "plain text after STARTTLS"
	RuleStartTLSAgain    Rule = "STARTTLS inside TLS"
	RuleHelloAfterTLS    Rule = "no EHLO after the TLS handshake"
	RuleTransactionTLS   Rule = "STARTTLS inside a transaction"
	RuleRequireTLS       Rule = "REQUIRETLS without TLS"
	RuleAuthClear        Rule = "password in clear"
	RuleAuthAgain        Rule = "AUTH after a successful one"
	RuleAuthTransaction  Rule = "AUTH inside a transaction"
	RuleAuthMechanism    Rule = "AUTH mechanism that was not offered"
	RuleAuthEncoding     Rule = "AUTH response that is not base64"
	RuleAuthLine         Rule = "AUTH line too long"
	RuleBlankColon       Rule = "blank around the colon"
	RulePath             Rule = "malformed path"
	RuleSourceRoute      Rule = "source route"
	RuleLongLocalPart    Rule = "local part over 64 octets"
	RuleLongDomain       Rule = "domain over 255 octets"
	RuleParamNotOffered  Rule = "parameter that was not offered"
	RuleParamTwice       Rule = "parameter given twice"
	RuleParamValue       Rule = "parameter with a malformed value"
	RuleUTF8Undeclared   Rule = "non-ASCII address without SMTPUTF8"
	RuleUTF8Needless     Rule = "SMTPUTF8 for an all-ASCII message"
	RuleNoRecipients     Rule = "DATA after every recipient was refused"
	RuleContentUnasked   Rule = "content without 354"
	RuleContentRefused   Rule = "content though every recipient was refused"
	RuleContentLineEnd   Rule = "bare CR or LF in the content"
	RuleContentLine      Rule = "content line over 998 octets"
	RuleContentNUL       Rule = "NUL in the content"
	RuleDot              Rule = "line with a dot that was not doubled"
	RuleEightBit         Rule = "8-bit content that was not declared"
	RuleUTF8Header       Rule = "8-bit header without SMTPUTF8" // a relay may break it for mail that came to it without SMTPUTF8: see Host.Allow
	RuleSizeExceeded     Rule = "content larger than announced"
	RuleOverLimit        Rule = "message over the server's SIZE"
	RuleMixed            Rule = "DATA and BDAT in one transaction"
	RuleBinaryData       Rule = "DATA for BINARYMIME"
	RuleChunkSyntax      Rule = "malformed BDAT"
	RuleChunkAfterLast   Rule = "BDAT after LAST"
	RuleChunkAfterRefuse Rule = "BDAT after a refused chunk"
)

// requirement is where a rule stands, and whether it binds.
type requirement struct {
	section string
	should  bool
}

func must(section string) requirement   { return requirement{section: section} }
func should(section string) requirement { return requirement{section: section, should: true} }

// requirements is where every rule stands.
func requirements() map[Rule]requirement {
	return map[Rule]requirement{
		RuleEarlyTalk:        should("RFC 5321 section 4.3.1"),
		RuleLineEnd:          must("RFC 5321 section 2.3.8"),
		RuleControl:          must("RFC 5321 section 4.1.2"),
		RuleNonASCII:         must("RFC 5321 section 2.4"),
		RuleLongCommand:      must("RFC 5321 section 4.5.3.1.4"),
		RuleUnknownCommand:   must("RFC 5321 section 4.1.1"),
		RuleNotOffered:       must("RFC 5321 section 2.2.1"),
		RuleArgument:         must("RFC 5321 section 4.1.1"),
		RuleTrailingBlank:    should("RFC 5321 section 4.1.1"),
		RuleHelloFirst:       must("RFC 5321 section 4.1.4"),
		RuleHelloName:        must("RFC 5321 section 4.1.1.1"),
		RuleLocalhost:        should("RFC 5321 section 4.1.1.1"),
		RuleNestedMail:       must("RFC 5321 section 4.1.4"),
		RuleSequence:         must("RFC 5321 section 3.3"),
		RulePipelining:       must("RFC 2920 section 3.1"),
		RuleGroupEnd:         must("RFC 2920 section 3.1"),
		RuleCommandAfter421:  must("RFC 5321 section 3.8"),
		RuleNoQuit:           must("RFC 5321 section 4.1.1.10"),
		RuleQuitWait:         should("RFC 5321 section 4.1.1.10"),
		RuleRecipientLimit:   must("RFC 9422 section 4"),
		RuleMessageLimit:     must("RFC 9422 section 4"),
		RuleDomainLimit:      must("RFC 9422 section 4"),
		RulePlaintext:        must("RFC 3207 section 4"),
		RuleStartTLSAgain:    must("RFC 3207 section 4.2"),
		RuleHelloAfterTLS:    must("RFC 3207 section 4.2"),
		RuleTransactionTLS:   must("RFC 3207 section 4"),
		RuleRequireTLS:       must("RFC 8689 section 2"),
		RuleAuthClear:        must("RFC 4954 section 4"),
		RuleAuthAgain:        must("RFC 4954 section 4"),
		RuleAuthTransaction:  must("RFC 4954 section 4"),
		RuleAuthMechanism:    must("RFC 4954 section 4"),
		RuleAuthEncoding:     must("RFC 4954 section 4"),
		RuleAuthLine:         must("RFC 4954 section 4"),
		RuleBlankColon:       must("RFC 5321 section 3.3"),
		RulePath:             must("RFC 5321 section 4.1.2"),
		RuleSourceRoute:      should("RFC 5321 section 4.1.1.3"),
		RuleLongLocalPart:    should("RFC 5321 section 4.5.3.1.1"),
		RuleLongDomain:       should("RFC 5321 section 4.5.3.1.2"),
		RuleParamNotOffered:  must("RFC 5321 section 4.1.1.11"),
		RuleParamTwice:       must("RFC 5321 section 4.1.1.11"),
		RuleParamValue:       must("RFC 5321 section 4.1.2"),
		RuleUTF8Undeclared:   must("RFC 6531 section 3.4"),
		RuleUTF8Needless:     should("RFC 6531 section 3.4"),
		RuleNoRecipients:     should("RFC 5321 section 3.3"),
		RuleContentUnasked:   must("RFC 5321 section 3.3"),
		RuleContentRefused:   must("RFC 2920 section 3.1"),
		RuleContentLineEnd:   must("RFC 5321 section 2.3.8"),
		RuleContentLine:      must("RFC 5322 section 2.1.1"),
		RuleContentNUL:       should("RFC 5321 section 4.5.2"),
		RuleDot:              must("RFC 5321 section 4.5.2"),
		RuleEightBit:         must("RFC 6152 section 3"),
		RuleUTF8Header:       must("RFC 6531 section 3.2"),
		RuleSizeExceeded:     should("RFC 1870 section 6"),
		RuleOverLimit:        should("RFC 1870 section 6.1"),
		RuleMixed:            must("RFC 3030 section 2"),
		RuleBinaryData:       must("RFC 3030 section 3"),
		RuleChunkSyntax:      must("RFC 3030 section 2"),
		RuleChunkAfterLast:   must("RFC 3030 section 2"),
		RuleChunkAfterRefuse: must("RFC 3030 section 2"),
	}
}

// Rules returns all rules, in no particular order.
func Rules() []Rule { return slices.Collect(maps.Keys(requirements())) }

// Section returns the section that has the rule, such as "RFC 5321 section 2.3.8".
func (r Rule) Section() string { return requirements()[r].section }

// Binding reports whether the rule is a MUST. The others are SHOULDs.
func (r Rule) Binding() bool {
	q, ok := requirements()[r]
	return ok && !q.should
}
