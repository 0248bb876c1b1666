//go:build linux

package peers

import (
	"encoding/base64"
	"strings"
)

// The user that every submission server knows, and its password.
const (
	SubmissionUser     = "submitter"
	SubmissionPassword = "a-word-to-submit-with"
)

// SubmissionSASL is who checks passwords for a Postfix.
type SubmissionSASL string

// Who may check passwords for a Postfix.
const (
	Dovecot SubmissionSASL = "dovecot"
	Cyrus   SubmissionSASL = "cyrus"
)

// PostfixSubmission is a Postfix for e.test on ip that takes mail of
// SubmissionUser only: on port 587 by STARTTLS, on 465 by implicit TLS, on 2587 in
// clear. mechanisms is what it offers: "PLAIN LOGIN". Passwords are checked by
// Dovecot, which also takes tokens signed with SubmissionPassword, or by Cyrus
// SASL.
func PostfixSubmission(ip, name, cert, key string, sasl SubmissionSASL, mechanisms string) *Server {
	s := Postfix(ip, name, cert, key, "smtpd_sasl_type = "+string(sasl)+`
smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = e.test
smtpd_sasl_authenticated_header = yes
smtpd_sasl_security_options = noanonymous
smtpd_client_restrictions = permit_sasl_authenticated, reject
cyrus_sasl_config_path = /etc/postfix/sasl
smtpd_sasl_path = `+map[SubmissionSASL]string{Dovecot: "private/auth", Cyrus: "smtpd"}[sasl])
	s.Package = "submission"
	s.Listen = ip + ":587"
	const service = " inet n - n - - smtpd\n  -o smtpd_tls_security_level="
	_, rest, _ := strings.Cut(s.Files["/etc/postfix/master.cf"], "\n")
	s.Files["/etc/postfix/master.cf"] = ip + ":587" + service + "encrypt\n" +
		ip + ":465" + service + "encrypt\n  -o smtpd_tls_wrappermode=yes\n" +
		ip + ":2587" + service + "none\n" + rest
	if sasl == Cyrus {
		s.addCyrus(mechanisms)
	} else {
		s.addDovecot(mechanisms)
	}
	return s
}

// addCyrus makes the server's password file, and has Postfix go by it.
func (s *Server) addCyrus(mechanisms string) {
	s.Files["/etc/postfix/sasl/smtpd.conf"] = "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: " + mechanisms + "\n"
	s.Before = append(s.Before, []string{"/bin/sh", "-c", "printf %s " + SubmissionPassword +
		" | saslpasswd2 -c -p -u e.test " + SubmissionUser + " && chgrp postfix /etc/sasldb2"})
}

// addDovecot has Dovecot run beside Postfix, as the one it asks about passwords.
func (s *Server) addDovecot(mechanisms string) {
	s.Users = append(s.Users, "dovecot", "dovenull")
	s.Dirs["/run/dovecot"], s.Dirs["/etc/dovecot/keys/default/HS256"] = Dir{}, Dir{}
	s.Files["/etc/dovecot/users"] = SubmissionUser + ":{PLAIN}" + SubmissionPassword + "::::::\n"
	s.Files["/etc/dovecot/keys/default/HS256/default"] = base64.StdEncoding.EncodeToString([]byte(SubmissionPassword))
	s.Files["/etc/dovecot/oauth2.conf"] = "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix=/etc/dovecot/keys/\n" +
		"username_attribute = sub\n"
	s.Files["/etc/dovecot/dovecot.conf"] = `protocols =
ssl = no
log_path = /var/log/postfix/dovecot.log
disable_plaintext_auth = no
auth_failure_delay = 0
auth_mechanisms = ` + strings.ToLower(mechanisms) + `
passdb {
  driver = passwd-file
  mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
  args = /etc/dovecot/users
}
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = /etc/dovecot/oauth2.conf
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
userdb {
  driver = static
  args = uid=dovecot gid=dovecot home=/var/empty
}
service auth {
  unix_listener /var/spool/postfix/private/auth {
    mode = 0660
    user = postfix
    group = postfix
  }
}
`
	s.Command = []string{"/bin/sh", "-c", "dovecot -F & exec " + strings.Join(s.Command, " ")}
}

// EximSubmission is an Exim for e.test on ip that takes mail of SubmissionUser
// only: on port 587 by STARTTLS, on 465 by implicit TLS, on 2587 in clear. It
// offers one mechanism: PLAIN, LOGIN, CRAM-MD5, or EXTERNAL by certificates of the
// authority ca that name the user.
func EximSubmission(ip, name, cert, key, ca, mechanism string) *Server {
	s := Exim(ip, name, cert, key)
	s.Listen = ip + ":587"
	config := s.Files["/etc/exim4/exim4.conf"]
	config = strings.Replace(config, "daemon_smtp_ports = 25\n", `daemon_smtp_ports = 465 : 587 : 2587
tls_on_connect_ports = 465
tls_verify_certificates = /etc/exim4/ca.pem
tls_try_verify_hosts = *
acl_smtp_mail = check_mail
`, 1)
	config = strings.Replace(config, "begin acl\n", `begin acl
check_mail:
  accept authenticated = *
  deny message = 5.7.0 authentication required
`, 1)
	s.Files["/etc/exim4/exim4.conf"] = config + eximAuthenticators()[mechanism]
	s.Files["/etc/exim4/ca.pem"] = ca
	return s
}

// eximAuthenticators are Exim's own, by mechanism.
func eximAuthenticators() map[string]string {
	is := func(user, password string) string {
		return "  server_condition = ${if and{{eq{" + user + "}{" + SubmissionUser + "}}{eq{" + password + "}{" + SubmissionPassword + "}}}}\n"
	}
	return map[string]string{
		"PLAIN": "plain:\n  driver = plaintext\n  public_name = PLAIN\n  server_prompts = :\n" + is("$auth2", "$auth3") +
			"  server_set_id = $auth2\n",
		"LOGIN": "login:\n  driver = plaintext\n  public_name = LOGIN\n  server_prompts = Username:: : Password::\n" +
			is("$auth1", "$auth2") + "  server_set_id = $auth1\n",
		"CRAM-MD5": "cram:\n  driver = cram_md5\n  public_name = CRAM-MD5\n" +
			"  server_secret = ${if eq{$auth1}{" + SubmissionUser + "}{" + SubmissionPassword + "}fail}\n  server_set_id = $auth1\n",
		"EXTERNAL": "external:\n  driver = external\n  public_name = EXTERNAL\n" +
			"  server_advertise_condition = $tls_in_certificate_verified\n" +
			"  server_param2 = ${certextract {subj_altname,dns,>:} {$tls_in_peercert}}\n" +
			"  server_condition = ${if forany {$auth2} {eq {$item}{$auth1}}}\n  server_set_id = $auth1\n",
	}
}
