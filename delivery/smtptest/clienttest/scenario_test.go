package clienttest_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/nexthop-mail/nexthop/delivery/smtptest/clienttest"
)

func TestAPlainClientGetsTheScenariosRight(t *testing.T) {
	clienttest.Run(t, func(s clienttest.Setup) clienttest.Client { return &reference{Setup: s} })
}

// TestWrongClientsAreCaught plants one defect after the other in the plain
// client: the scenario named must be the one that fails.
func TestWrongClientsAreCaught(t *testing.T) {
	const (
		order   = "the host of the best preference is tried first"
		pass    = "a host with everything gets its mail"
		dotted  = "dots at the start of lines are doubled"
		chunked = "chunks carry dots as they are"
	)
	defects := []struct{ defect, scenario string }{
		{"SERVFAIL leads to the domain's address", "SERVFAIL for MX records is temporary and the domain's address not used"},
		{"the domain's address is used where MX hosts fail", "where all MX hosts fail the domain's address is not used"},
		{"NXDOMAIN leads to the domain's address", "a domain that does not exist is final"},
		{"NXDOMAIN is temporary", "a domain that does not exist is final"},
		{"null MX is dialled", "null MX is final and nobody is dialled"},
		{"implicit MX is not known", "a domain without MX records is its own mail host"},
		{"literals are looked up", "an address literal is dialled without a question to DNS"},
		{"loopback is dialled", "an MX host at a loopback address is not dialled"},
		{"a host without an address ends the route", "an MX host without an address is passed over"},
		{"an address lookup that fails is final", "an address that cannot be looked up for now is temporary"},
		{"a failing AAAA query spoils the host", "a failing AAAA query does not hide the A record"},
		{"oneself is dialled", "oneself as the best host is a loop and final"},
		{"hosts equal to oneself are dialled", "oneself, and what is equal or worse, is left out"},
		{"equals are not shuffled", "hosts of equal preference are shuffled without bias"},
		{"preferences are not looked at", order},
		{"only the first host is tried", "a 5yz greeting is not the end"},
		{"only the first address is tried", "every address of a host is tried before the next host"},
		{"a 5yz greeting is the end", "a 5yz greeting is not the end"},
		{"talks before the greeting", order},
		{"HELO is not known", "HELO follows where EHLO is not known"},
		{"keywords are compared with case", "extension keywords are known in any case"},
		{"the first line of EHLO is a keyword", "the first line of the reply to EHLO offers nothing"},
		{"a reply needs text", "a reply of three digits alone is one"},
		{"the text of a reply decides", "the digits decide and not the text of a success"},
		{"the text of a reply decides", "the digits decide and not the text of a failure"},
		{"the last line's code counts", "a reply with two codes is a fault of the host"},
		{"waits for ever", "a greeting that never comes leads to the next host"},
		{"closes without QUIT", order},
		{"does not wait for the reply to QUIT", order},
		{"251 is a failure", "251 to RCPT is a success"},
		{"551 is temporary", "551 to RCPT is final"},
		{"a recipient refused for now is offered nowhere else", "a recipient refused for now is offered to the next host"},
		{"a refused recipient is offered elsewhere", "a recipient refused for good is offered to nobody else"},
		{"what was taken is offered again", "what one host took is not offered to the next"},
		{"a refused MAIL is offered elsewhere", "a MAIL refused for good is offered to nobody else"},
		{"too many recipients is put off", "too many recipients are sent in another transaction"},
		{"too many recipients is put off", "552 after accepted recipients means too many of them"},
		{"LIMITS is not known", "RCPTMAX is kept to"},
		{"content is sent though nobody wants it", "where every recipient is refused no content is sent"},
		{"the null reverse-path is replaced", "the null reverse-path stays the null one"},
		{"local parts are put in lower case", "the local part stays as it was written"},
		{"line ends in addresses pass", "an address with a line end is refused at the door"},
		{"line ends in addresses pass", "a reverse-path with a line end is refused at the door"},
		{"DSN parameters are sent to anybody", "DSN parameters do not go to hosts that do not offer DSN"},
		{"content follows any reply to DATA", "a 2yz to DATA asks for no content"},
		{"a 4yz after the content is final", "a 4yz after the content leads to the next host or to later"},
		{"a 5yz after the content is offered elsewhere", "a 5yz after the content is final"},
		{"a lost reply is tried elsewhere", "a connection lost after the final dot leaves the outcome unknown"},
		{"a lost reply is a failure", "a reply to the final dot that never comes leaves the outcome unknown"},
		{"a lost reply is a success", "a connection lost after the final dot leaves the outcome unknown"},
		{"dots are not doubled", dotted},
		{"the very first dot is not doubled", "a dot at the very start is doubled"},
		{"dots at the edge of a piece are not doubled", "dots are doubled wherever a piece of the content ends"},
		{"dots are doubled in chunks", chunked},
		{"no chunk is the last", chunked},
		{"a refused chunk refuses the message", "a host that offers CHUNKING and does not know BDAT still gets its mail"},
		{"the last line end is not added", "a line end is added where the last is missing"},
		{"an empty line is added at the end", "no empty line is added at the end"},
		{"bare line feeds are sent", "bare line feeds do not go over the wire"},
		{"content that broke off is sent", "content that cannot be read to its end is no message"},
		{"content that broke off is sent", "content shorter than it was announced is no message"},
		{"SIZE is not looked at", "a message over the host's SIZE goes to one that takes it"},
		{"8-bit content is not declared", "8-bit content is declared"},
		{"8-bit content is sent to anybody", "8-bit content goes to a host that takes it"},
		{"addresses beyond ASCII are sent to anybody", "an address beyond ASCII goes to a host that takes it"},
		{"SMTPUTF8 is always used", "SMTPUTF8 is not used for ASCII mail"},
		{"what was offered in clear is kept", "what was offered in clear is forgotten inside TLS"},
		{"no EHLO inside TLS", pass},
		{"what came before TLS is believed", "what came before the TLS handshake is not believed inside TLS"},
	}
	for _, d := range defects {
		t.Run(d.defect+"/"+d.scenario, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := scenario(t, d.scenario)
				err := s.Try(t.Context(), func(setup clienttest.Setup) clienttest.Client {
					return &reference{Setup: setup, defect: d.defect}
				})
				var failure *clienttest.Failure
				if !errors.As(err, &failure) {
					t.Fatalf("not caught: %v", err)
				}
				if failure.Name != d.scenario || failure.Section != s.Section || len(failure.Problems) == 0 {
					t.Errorf("caught as %+v", failure)
				}
			})
		})
	}
}

func scenario(t *testing.T, name string) *clienttest.Scenario {
	t.Helper()
	for _, s := range clienttest.Scenarios() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no scenario %q", name)
	return nil
}

func TestScenariosHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range clienttest.Scenarios() {
		if seen[s.Name] || s.Section == "" {
			t.Errorf("scenario %q is there twice or stands nowhere (%q)", s.Name, s.Section)
		}
		seen[s.Name] = true
	}
}
