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
