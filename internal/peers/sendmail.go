//go:build linux

package peers

// Sendmail is a sendmail on port 25. It takes logins by PLAIN, LOGIN and CRAM-MD5.
func Sendmail(h Host) *Server {
	return &Server{
		Package: "sendmail",
		Users:   append([]string{"smmta", "smmsp", "mail"}, Mailboxes()...),
		Dirs: map[string]Dir{
			vmail: everybody(), "/var/spool/mqueue": {Mode: 0o700}, "/var/lib/sendmail/host_status": {}, "/run/sendmail/mta": {},
		},
		Recipe: "sendmail",
		Words:  h.words(),
		Files: map[string]string{
			"/usr/local/bin/keep": keep,
			"/etc/mail/tls.pem":   h.Cert,
			"/etc/mail/tls.key":   h.Key,
			"/etc/mail/aliases":   "postmaster: root\n",
		},
		Before: [][]string{
			{"/bin/sh", "-c", "cd /etc/mail && m4 sendmail.mc >sendmail.cf && chmod 600 tls.key && /usr/libexec/sendmail/newaliases"},
			{"/bin/sh", "-c", "printf %s " + SubmissionPassword + " | saslpasswd2 -c -p -u e.test " + SubmissionUser},
		},
		Command: []string{"/usr/libexec/sendmail/sendmail", "-bD", "-X", "/dev/stdout"},
		Listen:  h.IP + ":25",
	}
}

// SendmailClient is a sendmail that hands all mail to the relay. It uses STARTTLS
// where that is offered, and then checks no certificate.
func SendmailClient(c Client) *Server {
	return &Server{
		Package: "sendmail",
		Users:   []string{"smmta", "smmsp", "mail"},
		Dirs:    map[string]Dir{"/var/spool/mqueue": {Mode: 0o700}, "/var/lib/sendmail/host_status": {}, "/run/sendmail/mta": {}},
		Recipe:  "sendmail-client",
		Words:   []string{"@RELAY@", c.Relay},
		Files:   c.files(map[string]string{"/etc/mail/aliases": "postmaster: root\n"}),
		Before:  [][]string{{"/bin/sh", "-c", "cd /etc/mail && m4 sendmail.mc >sendmail.cf && /usr/libexec/sendmail/newaliases"}},
	}
}
