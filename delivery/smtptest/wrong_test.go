package smtptest_test

import (
	"strings"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

func wrongLines() []wrong {
	return []wrong{
		{rule: smtptest.RuleEarlyTalk, dialogue: "C: EHLO client.example\nS: 220 host.example ESMTP\nS: 250 host.example greets you"},
		{rule: smtptest.RuleLineEnd, name: "bare LF", dialogue: plain + `C> RSET\n` + "\nS: 250 2.0.0 ok"},
		{rule: smtptest.RuleLineEnd, name: "bare CR", dialogue: plain + `C> NOOP a\rb\r\n` + "\nS: 250 2.0.0 ok"},
		{rule: smtptest.RuleControl, dialogue: plain + `C> NOOP a\0b\r\n` + "\nS: 250 2.0.0 ok"},
		{rule: smtptest.RuleNonASCII, dialogue: plain + "C: NOOP ü\nS: 250 2.0.0 ok"},
		{rule: smtptest.RuleLongCommand, dialogue: plain + "C: NOOP " + strings.Repeat("x", 520) + "\nS: 250 2.0.0 ok"},
		{rule: smtptest.RuleUnknownCommand, dialogue: plain + "C: FROB\nS: 500 5.5.1 unknown command"},
		{rule: smtptest.RuleArgument, dialogue: plain + "C: RSET now\nS: 501 5.5.4 syntax error"},
		{rule: smtptest.RuleTrailingBlank, dialogue: plain + "C> RSET \\r\\n\nS: 250 2.0.0 ok"},
		{rule: smtptest.RuleHelloName, name: "none", dialogue: "S: 220 host.example ESMTP\nC: EHLO\nS: 250 host.example greets you"},
		{rule: smtptest.RuleHelloName, name: "remarks", dialogue: "S: 220 host.example ESMTP\nC: EHLO client.example hi there\nS: 250 host.example greets you"},
		{rule: smtptest.RuleHelloName, name: "literal of the other family", dialogue: "S: 220 host.example ESMTP\nC: EHLO [IPv6:2001:db8::1]\nS: 250 host.example greets you"},
		{rule: smtptest.RuleHelloName, name: "bare address", dialogue: "S: 220 host.example ESMTP\nC: EHLO 2001:db8::1\nS: 250 host.example greets you"},
		{rule: smtptest.RuleLocalhost, dialogue: "S: 220 host.example ESMTP\nC: EHLO localhost\nS: 250 host.example greets you"},
		{rule: smtptest.RuleNoQuit, dialogue: plain, noQuit: true},
		{rule: smtptest.RuleNoQuit, name: "after the message", dialogue: body + taken, noQuit: true},
		{rule: smtptest.RuleQuitWait, dialogue: plain + "C: QUIT", noQuit: true},
	}
}

func wrongOrder() []wrong {
	refuseRcpt := []smtptest.Cue{{At: smtptest.Rcpt, Reply: "550 5.1.1 no"}}
	const refusedRcpt = plain + "C: MAIL FROM:<>\nS: 250 2.1.0 ok\nC: RCPT TO:<b@b.example>\nS: 550 5.1.1 no\n"
	return []wrong{
		{rule: smtptest.RuleHelloFirst, dialogue: "S: 220 host.example ESMTP\nC: MAIL FROM:<>\nS: 503 5.5.1 EHLO first"},
		{rule: smtptest.RuleNestedMail, dialogue: start + "C: MAIL FROM:<>\nS: 503 5.5.1 there is a transaction already"},
		{rule: smtptest.RuleSequence, name: "RCPT without MAIL", dialogue: plain + "C: RCPT TO:<b@b.example>\nS: 503 5.5.1 MAIL first"},
		{
			rule: smtptest.RuleSequence, name: "RCPT after a refused MAIL", script: []smtptest.Cue{{At: smtptest.Mail, Reply: "550 5.7.1 no"}},
			dialogue: plain + "C: MAIL FROM:<>\nS: 550 5.7.1 no\nC: RCPT TO:<b@b.example>\nS: 503 5.5.1 MAIL first",
		},
		{rule: smtptest.RuleSequence, name: "DATA without RCPT", dialogue: plain + "C: MAIL FROM:<>\nS: 250 2.1.0 ok\nC: DATA\nS: 503 5.5.1 RCPT first\n" + rset},
		{rule: smtptest.RuleNoRecipients, script: refuseRcpt, dialogue: refusedRcpt + "C: DATA\nS: 554 5.5.1 no valid recipients\n" + rset},
		{rule: smtptest.RulePipelining, name: "RCPT with MAIL", dialogue: plain + "C: MAIL FROM:<>\nC: RCPT TO:<b@b.example>\nS: 250 2.1.0 ok\nS: 250 2.1.5 ok\n" + rset},
		{rule: smtptest.RulePipelining, name: "something with the final dot", dialogue: body + "C: .\nC: RSET\nS: 250 2.0.0 taken\nS: 250 2.0.0 ok"},
		{rule: smtptest.RuleGroupEnd, name: "after EHLO", offers: "PIPELINING", dialogue: "C: EHLO client.example\nC: RSET\nS: 250-host.example greets you\nS: 250 PIPELINING\nS: 250 2.0.0 ok"},
		{
			rule: smtptest.RuleGroupEnd, name: "content with DATA", offers: "PIPELINING",
			dialogue: "C: MAIL FROM:<>\nC: RCPT TO:<b@b.example>\nC: DATA\nC: x\nC: .\nS: 250 2.1.0 ok\nS: 250 2.1.5 ok\nS: 354 go ahead\nS: 250 2.0.0 taken",
		},
		{
			rule: smtptest.RuleCommandAfter421, script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: "421 4.3.2 closing"}},
			dialogue: plain + "C: MAIL FROM:<>\nS: 250 2.1.0 ok\nC: RCPT TO:<b@b.example>\nS: 421 4.3.2 closing\nC: RSET\nS: 250 2.0.0 ok",
		},
		{
			rule: smtptest.RuleRecipientLimit, offers: "LIMITS RCPTMAX=1",
			dialogue: "C: MAIL FROM:<>\nS: 250 2.1.0 ok\nC: RCPT TO:<b@b.example>\nS: 250 2.1.5 ok\nC: RCPT TO:<c@b.example>\nS: 452 4.5.3 too many recipients\n" + rset,
		},
		{
			rule: smtptest.RuleMessageLimit, offers: "LIMITS MAILMAX=1", noQuit: true,
			dialogue: "C: MAIL FROM:<>\nS: 250 2.1.0 ok\n" + rset + "C: MAIL FROM:<>\nS: 421 4.7.0 enough messages\nEOF",
		},
		{
			rule: smtptest.RuleDomainLimit, offers: "LIMITS RCPTDOMAINMAX=1",
			dialogue: "C: MAIL FROM:<>\nS: 250 2.1.0 ok\nC: RCPT TO:<b@b.example>\nS: 250 2.1.5 ok\nC: RCPT TO:<c@c.example>\nS: 250 2.1.5 ok\n" + rset,
		},
	}
}

func wrongEnvelopes() []wrong {
	const long = "x123456789x123456789x123456789x123456789x123456789x123456789x1234"
	return []wrong{
		{rule: smtptest.RuleBlankColon, dialogue: plain + "C: MAIL FROM: <a@a.example>\nS: 250 2.1.0 ok\n" + rset},
		{rule: smtptest.RulePath, name: "no brackets", dialogue: plain + "C: MAIL FROM:a@a.example\nS: 501 5.5.4 syntax error"},
		{rule: smtptest.RulePath, name: "null recipient", dialogue: plain + "C: MAIL FROM:<>\nS: 250 2.1.0 ok\nC: RCPT TO:<>\nS: 501 5.5.4 syntax error\n" + rset},
		{rule: smtptest.RulePath, name: "no domain", dialogue: plain + "C: MAIL FROM:<a>\nS: 250 2.1.0 ok\n" + rset},
		{rule: smtptest.RulePath, name: "blank in the local part", dialogue: plain + "C: MAIL FROM:<a b@a.example>\nS: 250 2.1.0 ok\n" + rset},
		{rule: smtptest.RuleSourceRoute, dialogue: plain + "C: MAIL FROM:<>\nS: 250 2.1.0 ok\nC: RCPT TO:<@x.example:b@b.example>\nS: 250 2.1.5 ok\n" + rset},
		{rule: smtptest.RuleLongLocalPart, dialogue: plain + "C: MAIL FROM:<" + long + "@a.example>\nS: 250 2.1.0 ok\n" + rset},
		{rule: smtptest.RuleLongDomain, dialogue: plain + "C: MAIL FROM:<a@" + strings.Repeat("x23456789.", 25) + "example>\nS: 250 2.1.0 ok\n" + rset},
		{rule: smtptest.RuleParamNotOffered, name: "MAIL", dialogue: plain + "C: MAIL FROM:<> SIZE=1\nS: 555 5.5.4 parameter not recognised"},
		{rule: smtptest.RuleParamNotOffered, name: "RCPT", offers: "SIZE", dialogue: "C: MAIL FROM:<> SIZE=1\nS: 250 2.1.0 ok\nC: RCPT TO:<b@b.example> NOTIFY=NEVER\nS: 555 5.5.4 parameter not recognised\n" + rset},
		{
			rule: smtptest.RuleParamNotOffered, name: "after HELO", offers: "SIZE",
			dialogue: "S: 220 host.example ESMTP\nC: HELO client.example\nS: 250 host.example\nC: MAIL FROM:<> SIZE=1\nS: 555 5.5.4 parameter not recognised",
		},
		{rule: smtptest.RuleParamNotOffered, name: "BINARYMIME", offers: "8BITMIME", dialogue: "C: MAIL FROM:<> BODY=BINARYMIME\nS: 555 5.5.4 parameter not recognised"},
		{rule: smtptest.RuleParamTwice, offers: "SIZE", dialogue: "C: MAIL FROM:<> SIZE=1 SIZE=1\nS: 555 5.5.4 parameter not recognised"},
		{rule: smtptest.RuleParamValue, name: "SIZE", offers: "SIZE", dialogue: "C: MAIL FROM:<> SIZE=-1\nS: 555 5.5.4 parameter not recognised"},
		{rule: smtptest.RuleParamValue, name: "NOTIFY", offers: "DSN", dialogue: "C: MAIL FROM:<>\nS: 250 2.1.0 ok\nC: RCPT TO:<b@b.example> NOTIFY=NEVER,FAILURE\nS: 555 5.5.4 parameter not recognised\n" + rset},
		{rule: smtptest.RuleParamValue, name: "ENVID", offers: "DSN", dialogue: "C: MAIL FROM:<> ENVID=a+2x\nS: 555 5.5.4 parameter not recognised"},
		{rule: smtptest.RuleUTF8Undeclared, name: "MAIL", offers: "SMTPUTF8", dialogue: "C: MAIL FROM:<jö@a.example>\nS: 250 2.1.0 ok\n" + rset},
		{rule: smtptest.RuleUTF8Undeclared, name: "RCPT", offers: "SMTPUTF8", dialogue: "C: MAIL FROM:<>\nS: 250 2.1.0 ok\nC: RCPT TO:<jö@b.example>\nS: 250 2.1.5 ok\n" + rset},
		{
			rule: smtptest.RuleUTF8Needless, offers: "SMTPUTF8",
			dialogue: "C: MAIL FROM:<> SMTPUTF8\nS: 250 2.1.0 ok\nC: RCPT TO:<b@b.example>\nS: 250 2.1.5 ok\nC: DATA\nS: 354 go ahead\n" + taken,
		},
		{
			rule: smtptest.RuleOverLimit, offers: "SIZE 10",
			dialogue: "C: MAIL FROM:<> SIZE=11\nS: 552 5.3.4 too big",
		},
	}
}

func wrongContents() []wrong {
	chunked := "PIPELINING;CHUNKING"
	const envelope = "C: MAIL FROM:<>\nC: RCPT TO:<b@b.example>\nS: 250 2.1.0 ok\nS: 250 2.1.5 ok\n"
	return []wrong{
		{
			rule: smtptest.RuleContentUnasked, script: []smtptest.Cue{{At: smtptest.Data, Reply: "451 4.3.0 later"}},
			dialogue: start + "C: DATA\nS: 451 4.3.0 later\nC: Subject: x\nS: 500 5.5.2 that looks like content\n" + rset,
		},
		{
			rule: smtptest.RuleContentRefused, offers: "PIPELINING",
			script:   []smtptest.Cue{{At: smtptest.Rcpt, Reply: "550 5.1.1 no"}, {At: smtptest.Data, Reply: "354 go ahead"}},
			dialogue: "C: MAIL FROM:<>\nC: RCPT TO:<b@b.example>\nC: DATA\nS: 250 2.1.0 ok\nS: 550 5.1.1 no\nS: 354 go ahead\nC: x\nC: .\nS: 554 5.5.1 no valid recipients",
		},
		{rule: smtptest.RuleContentLineEnd, name: "bare LF", dialogue: body + `C> a\nb\r\n` + "\n" + taken},
		{rule: smtptest.RuleContentLineEnd, name: "bare CR", dialogue: body + `C> a\rb\r\n` + "\n" + taken},
		{rule: smtptest.RuleContentLineEnd, name: "smuggled end", dialogue: body + `C> a\n.\nMAIL FROM:<>\n` + "\nC: \n" + taken},
		{rule: smtptest.RuleContentLine, dialogue: body + "C: " + strings.Repeat("x", 999) + "\n" + taken},
		{rule: smtptest.RuleContentNUL, dialogue: body + `C> a\0b\r\n` + "\n" + taken},
		{rule: smtptest.RuleDot, dialogue: body + "C: .x\n" + taken},
		{rule: smtptest.RuleEightBit, dialogue: body + "C: \nC: ü\n" + taken},
		{
			rule: smtptest.RuleUTF8Header, offers: "8BITMIME",
			dialogue: "C: MAIL FROM:<> BODY=8BITMIME\nS: 250 2.1.0 ok\nC: RCPT TO:<b@b.example>\nS: 250 2.1.5 ok\nC: DATA\nS: 354 go ahead\nC: Subject: ü\n" + taken,
		},
		{
			rule: smtptest.RuleSizeExceeded, offers: "SIZE",
			dialogue: "C: MAIL FROM:<> SIZE=2\nS: 250 2.1.0 ok\nC: RCPT TO:<b@b.example>\nS: 250 2.1.5 ok\nC: DATA\nS: 354 go ahead\nC: x\n" + taken,
		},
		{rule: smtptest.RuleMixed, offers: chunked, dialogue: envelope + "C: BDAT 3\nC: x\nS: 250 2.0.0 3 octets\nC: DATA\nS: 503 5.5.1 BDAT was used\n" + rset},
		{
			rule: smtptest.RuleBinaryData, offers: "CHUNKING;BINARYMIME",
			dialogue: "C: MAIL FROM:<> BODY=BINARYMIME\nS: 250 2.1.0 ok\nC: RCPT TO:<b@b.example>\nS: 250 2.1.5 ok\nC: DATA\nS: 354 go ahead\n" + taken,
		},
		{rule: smtptest.RuleChunkSyntax, offers: chunked, dialogue: envelope + "C: BDAT x LAST\nS: 501 5.5.4 BDAT size [LAST]\n" + rset},
		{rule: smtptest.RuleChunkAfterLast, offers: chunked, dialogue: envelope + "C: BDAT 3 LAST\nC: x\nS: 250 2.0.0 taken\nC: BDAT 0 LAST\nS: 503 5.5.1 the last chunk was there"},
		{
			rule: smtptest.RuleChunkAfterRefuse, offers: chunked, script: []smtptest.Cue{{At: smtptest.Chunk, Nth: 1, Reply: "451 4.3.0 later"}},
			dialogue: envelope + "C: BDAT 3\nC: x\nS: 451 4.3.0 later\nC: BDAT 0 LAST\nS: 503 5.5.1 a chunk was refused\n" + rset,
		},
		{
			rule: smtptest.RuleNestedMail, name: "no RSET after a refused chunk", offers: chunked, script: []smtptest.Cue{{At: smtptest.Chunk, Nth: 1, Reply: "451 4.3.0 later"}},
			dialogue: envelope + "C: BDAT 3\nC: x\nS: 451 4.3.0 later\nC: MAIL FROM:<>\nS: 503 5.5.1 there is a transaction already",
		},
		{rule: smtptest.RuleNotOffered, name: "BDAT", dialogue: start + "C: BDAT 3 LAST\nC: x\nS: 250 2.0.0 taken"},
	}
}

func wrongSecurity() []wrong {
	users := map[string]string{"u": "p"}
	const authPlain = "C: AUTH PLAIN AHUAcA==\nS: 235 2.7.0 welcome\n"
	return []wrong{
		{rule: smtptest.RuleNotOffered, name: "STARTTLS", dialogue: plain + "C: STARTTLS\nS: 502 5.5.1 not implemented"},
		{rule: smtptest.RuleNotOffered, name: "AUTH", dialogue: plain + "C: AUTH CRAM-MD5\nS: 502 5.5.1 not implemented"},
		{rule: smtptest.RulePlaintext, name: "with STARTTLS", offers: "STARTTLS", noQuit: true, dialogue: "C: STARTTLS\nC: EHLO client.example\nS: 554 5.5.1 talk after STARTTLS\nEOF"},
		{rule: smtptest.RulePlaintext, name: "instead of the handshake", offers: "STARTTLS", noQuit: true, dialogue: "C: STARTTLS\nS: 220 2.0.0 go ahead\nC: EHLO client.example"},
		{
			rule: smtptest.RuleStartTLSAgain, offers: "STARTTLS", dialogue: "C: STARTTLS\nS: 220 2.0.0 go ahead",
			inside: "C: EHLO client.example\nS: 250 host.example greets you\nC: STARTTLS\nS: 503 5.5.1 TLS is on",
		},
		{
			rule: smtptest.RuleHelloAfterTLS, offers: "STARTTLS", dialogue: "C: STARTTLS\nS: 220 2.0.0 go ahead",
			inside: "C: MAIL FROM:<>\nS: 503 5.5.1 EHLO first",
		},
		{rule: smtptest.RuleTransactionTLS, offers: "STARTTLS", dialogue: "C: MAIL FROM:<>\nS: 250 2.1.0 ok\nC: STARTTLS\nS: 503 5.5.1 not now\n" + rset},
		{rule: smtptest.RuleRequireTLS, offers: "REQUIRETLS", dialogue: "C: MAIL FROM:<> REQUIRETLS\nS: 250 2.1.0 ok\n" + rset},
		{rule: smtptest.RuleAuthClear, offers: "AUTH PLAIN", users: users, dialogue: authPlain},
		{rule: smtptest.RuleAuthTransaction, offers: "AUTH EXTERNAL", dialogue: "C: MAIL FROM:<>\nS: 250 2.1.0 ok\nC: AUTH EXTERNAL =\nS: 503 5.5.1 not now\n" + rset},
		{rule: smtptest.RuleAuthMechanism, offers: "AUTH CRAM-MD5", dialogue: "C: AUTH EXTERNAL =\nS: 504 5.5.4 no such mechanism"},
		{rule: smtptest.RuleAuthEncoding, offers: "AUTH EXTERNAL", dialogue: "C: AUTH EXTERNAL !\nS: 501 5.5.2 not base64"},
		{
			rule: smtptest.RuleAuthLine, offers: "AUTH EXTERNAL",
			dialogue: "C: AUTH EXTERNAL\nS: 334 \nC: " + strings.Repeat("AAAA", 3072) + "\nS: 535 5.7.8 credentials invalid",
		},
		{
			rule: smtptest.RuleAuthAgain, offers: "AUTH CRAM-MD5", users: users,
			script:   []smtptest.Cue{{At: smtptest.Auth, Nth: 1, Reply: "235 2.7.0 welcome"}},
			dialogue: "C: AUTH CRAM-MD5\nS: 235 2.7.0 welcome\nC: AUTH CRAM-MD5\nS: 503 5.5.1 that is done",
		},
	}
}
