//go:build linux

package peers

import "strings"

// DovecotSubmission is Dovecot's submission server on port 25, where everybody must
// log in, before a Postfix on port 2525 that has the mailboxes.
func DovecotSubmission(h Host) *Server {
	s := PostfixHost(h)
	s.Listen = h.IP + ":2525" // the later of the two
	_, rest, _ := strings.Cut(s.Files["/etc/postfix/master.cf"], "pickup")
	s.Files["/etc/postfix/master.cf"] = h.IP + ":2525 inet n - n - - smtpd\n  -o smtpd_client_restrictions= -o smtpd_sasl_auth_enable=no\npickup" + rest
	s.Files["/etc/dovecot/tls.pem"], s.Files["/etc/dovecot/tls.key"] = h.Cert, h.Key
	s.Files["/etc/dovecot/dovecot.conf"] = strings.NewReplacer("protocols =", "protocols = submission", "ssl = no", "ssl = yes").
		Replace(s.Files["/etc/dovecot/dovecot.conf"]) +
		strings.NewReplacer(h.words()...).Replace(dovecotSubmission)
	return s
}

const dovecotSubmission = `
hostname = @NAME@
ssl_cert = </etc/dovecot/tls.pem
ssl_key = </etc/dovecot/tls.key
mail_location = maildir:/var/vmail/.dovecot
first_valid_uid = 100
submission_relay_host = @IP@
submission_relay_port = 2525
submission_max_mail_size = 50M
service submission-login {
  inet_listener submission {
    address = @IP@
    port = 25
  }
}
`
