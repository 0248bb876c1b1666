//go:build linux

package peers

import "strings"

// PostfixHost is a Postfix on port 25, and on port 587 for logins, which Dovecot
// checks.
func PostfixHost(h Host) *Server {
	s := PostfixSubmission(h.IP, h.Name, h.Cert, h.Key, Dovecot, "PLAIN SCRAM-SHA-256")
	s.Listen = h.IP + ":25"
	var maps strings.Builder
	for _, m := range Mailboxes() {
		maps.WriteString(" { " + m + "@e.test = " + m + "/ }")
	}
	s.Files["/etc/postfix/main.cf"] = override(s.Files["/etc/postfix/main.cf"],
		"virtual_mailbox_maps = inline:{"+maps.String()+" }\nmessage_size_limit = 50000000")
	s.Files["/etc/postfix/master.cf"] = h.IP + ":25 inet n - n - - smtpd\n  -o smtpd_client_restrictions= -o smtpd_sasl_auth_enable=no\n" +
		s.Files["/etc/postfix/master.cf"]
	return s
}

// EximHost is an Exim on port 25, and on port 587 for logins by PLAIN.
func EximHost(h Host) *Server {
	s := EximSubmission(h.IP, h.Name, h.Cert, h.Key, h.Cert, "PLAIN")
	s.Listen = h.IP + ":25"
	s.Files["/etc/exim4/exim4.conf"] = strings.NewReplacer(
		"daemon_smtp_ports = 465 ", "smtputf8_advertise_hosts = *\nauth_advertise_hosts = ${if eq{$received_port}{25}{}{*}}\ndaemon_smtp_ports = 25 : 465 ",
		"smtputf8_advertise_hosts =\n", "",
		"  accept authenticated = *\n", "  accept condition = ${if eq{$received_port}{25}}\n  accept authenticated = *\n",
		"local_parts = u : v\n", "local_parts = "+strings.Join(Mailboxes(), " : ")+"\n",
		"file = /var/vmail/${local_part_data}\n", "directory = /var/vmail/${local_part_data}\n  maildir_format\n",
	).Replace(s.Files["/etc/exim4/exim4.conf"])
	return s
}

// OpenSMTPDHost is an OpenSMTPD on port 25, in clear alone: the TLS of Debian's was
// made for an older OpenSSL, and fails.
func OpenSMTPDHost(h Host) *Server {
	s := OpenSMTPD(h.IP, h.Name, "", "")
	s.Users = append(s.Users, "vmail")
	s.Dirs[vmail] = Dir{Owner: "vmail"}
	delete(s.Dirs, vmail+"/u")
	delete(s.Dirs, vmail+"/v")
	var table strings.Builder
	for _, m := range Mailboxes() {
		table.WriteString(m + " vmail\n")
	}
	s.Files["/etc/mailboxes"] = table.String()
	s.Files["/etc/smtpd.conf"] = "listen on " + h.IP + " port 25 hostname " + h.Name + "\nsmtp max-message-size 50M\n" + `
table mailboxes file:/etc/mailboxes
action "local" maildir "/var/vmail/%{rcpt.user}" virtual <mailboxes>
match from any for domain "e.test" action "local"
`
	return s
}
