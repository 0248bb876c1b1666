package delivery_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest/clienttest"
	"github.com/nexthop-mail/nexthop/queue"
)

// underTest is a Sender as smtptest sees a mail client.
type underTest struct{ *delivery.Sender }

func (u underTest) Deliver(ctx context.Context, m *queue.Message) []queue.Outcome {
	report, _ := u.Send(ctx, m)
	outcomes := make([]queue.Outcome, len(report.Recipients))
	for i := range report.Recipients {
		outcomes[i] = report.Recipients[i].Outcome
	}
	return outcomes
}

// TestScenarios tries everything smtptest knows of that a mail client can get
// wrong. Scenarios that show a requirement are named with it.
func TestScenarios(t *testing.T) {
	rows := scenarioRows()
	for _, s := range clienttest.Scenarios() {
		name := s.Name
		if shown := rows[s.Name]; shown != "" {
			name = shown + " " + name
		}
		delete(rows, s.Name)
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := s.Try(t.Context(), func(s clienttest.Setup) clienttest.Client {
					return underTest{&delivery.Sender{
						Hello: s.Hello, Self: s.Self, Resolver: s.Internet, Dial: s.Internet.DialContext,
					}}
				})
				if err != nil {
					t.Error(err)
				}
			})
		})
	}
	for name, row := range rows {
		t.Errorf("%s: there is no scenario %q", row, name)
	}
}

// scenarioRows are the requirements that scenarios show.
func scenarioRows() map[string]string {
	rows := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSpace(`
		MX-2, MX-5: SERVFAIL for MX records is temporary and the domain's address not used
		MX-5: no answer for MX records is temporary and the domain's address not used
		MX-2: where all MX hosts fail the domain's address is not used
		MX-3: a domain without MX records is its own mail host
		MX-4: a domain that does not exist is final
		MX-6: an alias of the domain changes the route and not the recipient
		MX-12: an address literal is dialled without a question to DNS
		MX-16: hosts of equal preference are shuffled without bias
		MX-17: every address of a host is tried before the next host
		MX-20: a failing AAAA query does not hide the A record
		MX-21: an MX host without an address is passed over
		MX-21: MX hosts none of which has an address are final
		MX-21: an address that cannot be looked up for now is temporary
		MX-24: oneself, and what is equal or worse, is left out
		MX-25: an MX host at a loopback address is not dialled
		MX-26: oneself as the best host is a loop and final
		MX-29: null MX is final and nobody is dialled
		MX-29: null MX beside other records is passed over
		SMTP-1: a greeting of several lines is one
		SMTP-2, MX-22: a 5yz greeting is not the end
		SMTP-2: 521 speaks for one host only
		SMTP-2: a 421 greeting leads to the next host
		SMTP-3: HELO follows where EHLO is not known
		SMTP-3: HELO does not follow a 4yz to EHLO
		SMTP-6: extension keywords are known in any case
		SMTP-6: the first line of the reply to EHLO offers nothing
		SMTP-6: extension lines nobody can read are passed over
		SMTP-8: the null reverse-path stays the null one
		SMTP-9: a session with a refused recipient ends with QUIT
		SMTP-9: what was taken stays taken whatever QUIT meets
		SMTP-9: what was taken stays taken where QUIT has no answer
		SMTP-9: what was taken stays taken where the host hangs up
		SMTP-10: an address with a line end is refused at the door
		SMTP-10: a reverse-path with a line end is refused at the door
		SMTP-11: the local part stays as it was written
		SMTP-13: recipients of one domain share a transaction
		SMTP-15: a reply of three digits alone is one
		SMTP-16: the digits decide and not the text of a success
		SMTP-16: the digits decide and not the text of a failure
		SMTP-16: codes nobody knows go by their first digit
		SMTP-17: a reply with two codes is a fault of the host
		SMTP-17: a reply of the sixth class is a fault of the host
		SMTP-17: a 3yz to RCPT is a fault of the host
		SMTP-17: a 2yz to DATA asks for no content
		SMTP-18: octets that are no text break nothing
		SMTP-19: 421 in a transaction leads to the next host
		SMTP-20: a lost connection in a transaction leads to the next host
		SMTP-21: a connection lost after the final dot leaves the outcome unknown
		SMTP-23: every recipient has a verdict of its own
		SMTP-23: 251 to RCPT is a success
		SMTP-23: 551 to RCPT is final
		SMTP-24: too many recipients are sent in another transaction
		SMTP-24: 552 after accepted recipients means too many of them
		SMTP-26: a 4yz to DATA sends no content and leads to the next host
		SMTP-27: a 5yz after the content is final
		SMTP-28: dots at the start of lines are doubled
		SMTP-28: a dot at the very start is doubled
		SMTP-28: dots are doubled wherever a piece of the content ends
		SMTP-29: a line end is added where the last is missing
		SMTP-29: no empty line is added at the end
		SMTP-30: bare line feeds do not go over the wire
		SMTP-36: a greeting after four minutes is waited for
		EXT-1: DSN parameters go to hosts that offer DSN
		EXT-4: a message over the host's SIZE goes to one that takes it
		EXT-4: a message over every host's SIZE is final
		EXT-8: replies that do not fit their commands lead to the next host
		EXT-9: where every recipient is refused no content is sent
		EXT-11: 8-bit content is declared
		EXT-11: 8-bit content goes to a host that takes it
		EXT-12: 8-bit content that no host takes does not go out
		EXT-13: chunks carry dots as they are
		EXT-14: a message is one LAST and no more
		EXT-27: RCPTMAX is kept to
		I18N-5: an address beyond ASCII is declared
		I18N-5: SMTPUTF8 is not used for ASCII mail
		I18N-6, I18N-8: an address beyond ASCII goes to a host that takes it
		TLS-2: what came before the TLS handshake is not believed inside TLS
		TLS-3: what was offered in clear is forgotten inside TLS
	`), "\n") {
		row, name, _ := strings.Cut(strings.TrimSpace(line), ": ")
		rows[name] = row
	}
	return rows
}
