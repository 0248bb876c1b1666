//go:build linux

package peers

import (
	"fmt"
	"strings"
)

// Postfix is a Postfix for e.test on port 25 of ip. It knows u@e.test and
// v@e.test, whose mail is in /var/vmail, and offers STARTTLS with the PEM
// certificate and key if they are given. extra are more lines of main.cf, or
// others in the place of ours.
func Postfix(ip, name, cert, key, extra string) *Server {
	tls := "smtpd_tls_security_level = none\n"
	if cert != "" {
		tls = "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = /etc/postfix/tls.pem\n" +
			"smtpd_tls_key_file = /etc/postfix/tls.key\n"
	}
	return &Server{
		Package: "postfix",
		Users:   []string{"postfix", "postdrop", "vmail"},
		Dirs:    postfixDirs(),
		Files: map[string]string{
			"/etc/postfix/tls.pem": cert, "/etc/postfix/tls.key": key,
			"/etc/postfix/master.cf": ip + ":25" + postfixMaster,
			"/etc/postfix/main.cf": override("compatibility_level = 3.6\nmyhostname = "+name+`
inet_interfaces = loopback-only
inet_protocols = ipv4
mydestination =
mynetworks =
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_peername_lookup = no
virtual_mailbox_domains = e.test
virtual_mailbox_base = /var/vmail
virtual_mailbox_maps = inline:{ { u@e.test = u }, { v@e.test = v } }
virtual_uid_maps = static:6102
virtual_gid_maps = static:6102
virtual_minimum_uid = 100
smtputf8_enable = yes
alias_maps =
maillog_file = /var/log/postfix/mail.log
`+tls, extra),
		},
		Command: []string{"/usr/lib/postfix/sbin/master", "-i"},
		Logs:    "/var/log/postfix",
		Listen:  ip + ":25",
	}
}

// override is a configuration of "name = value" lines with those of extra instead
// of its own of the same name. Postfix takes the last, too, but warns, and its
// logger, which warns as well before it reads, can wait for itself for ever.
func override(config, extra string) string {
	var b strings.Builder
	for line := range strings.Lines(config) {
		name, _, _ := strings.Cut(line, "=")
		if !strings.Contains("\n"+extra, "\n"+name+"=") {
			b.WriteString(line)
		}
	}
	return b.String() + extra + "\n"
}

// postfixDirs are the directories that installing Postfix makes.
func postfixDirs() map[string]Dir {
	const spool = "/var/spool/postfix/"
	dirs := map[string]Dir{
		"/var/spool/postfix": {}, spool + "pid": {}, "/var/log/postfix": {},
		"/var/lib/postfix": {Owner: "postfix"}, "/var/vmail": {Owner: "vmail"},
		spool + "public":   {Owner: "postfix", Mode: 0o710},
		spool + "maildrop": {Owner: "postfix", Mode: 0o730},
	}
	for _, name := range []string{
		"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace",
	} {
		dirs[spool+name] = Dir{Owner: "postfix", Mode: 0o700}
	}
	return dirs
}

const postfixMaster = ` inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
`

// Exim is an Exim for e.test on port 25 of ip. It knows u@e.test and v@e.test,
// whose mail is in /var/vmail, defers later@e.test, and offers CHUNKING, and
// STARTTLS if a certificate is given.
func Exim(ip, name, cert, key string) *Server {
	tls := "tls_advertise_hosts =\n"
	if cert != "" {
		tls = "tls_advertise_hosts = *\ntls_certificate = /etc/exim4/tls.pem\ntls_privatekey = /etc/exim4/tls.key\n"
	}
	return &Server{
		Package: "exim",
		Users:   []string{"Debian-exim"},
		Dirs: map[string]Dir{
			"/var/spool/exim4": {Owner: "Debian-exim"}, "/var/log/exim4": {Owner: "Debian-exim"},
			"/var/vmail": {Owner: "Debian-exim"},
		},
		Logs: "/var/log/exim4",
		Files: map[string]string{
			"/etc/exim4/tls.pem": cert, "/etc/exim4/tls.key": key,
			"/etc/exim4/exim4.conf": "primary_hostname = " + name + "\nlocal_interfaces = " + ip + "\n" + tls + eximRest,
		},
		Owner:   map[string]string{"/etc/exim4/tls.key": "Debian-exim"},
		Command: []string{"/usr/sbin/exim4", "-bdf", "-q30m"},
		Listen:  ip + ":25",
	}
}

const eximRest = `
exim_user = Debian-exim
exim_group = Debian-exim
never_users =
daemon_smtp_ports = 25
host_lookup =
rfc1413_hosts =
rfc1413_query_timeout = 0s
log_file_path = /var/log/exim4/%slog
keep_environment =
smtp_accept_max = 50
smtputf8_advertise_hosts =
acl_smtp_rcpt = check_rcpt
begin acl
check_rcpt:
  defer local_parts = later
        message = 4.7.1 greylisted
  accept domains = e.test
         local_parts = u : v
  deny message = 5.1.1 unknown
begin routers
mailboxes:
  driver = accept
  local_parts = u : v
  transport = mailbox
begin transports
mailbox:
  driver = appendfile
  file = /var/vmail/${local_part_data}
  user = Debian-exim
  group = Debian-exim
  envelope_to_add
  return_path_add
begin retry
* * F,2h,15m
begin rewrite
begin authenticators
`

// OpenSMTPD is an OpenSMTPD for e.test on port 25 of ip. It knows u@e.test and
// v@e.test, whose mail is in /var/vmail, and offers STARTTLS if a certificate
// is given.
func OpenSMTPD(ip, name, cert, key string) *Server {
	listen := fmt.Sprintf("listen on %s port 25 hostname %s\n", ip, name)
	if cert != "" {
		listen = fmt.Sprintf("pki %s cert \"/etc/tls.pem\"\npki %s key \"/etc/tls.key\"\n", name, name) +
			fmt.Sprintf("listen on %s port 25 tls pki %s hostname %s\n", ip, name, name)
	}
	return &Server{
		Package: "opensmtpd",
		Users:   []string{"opensmtpd", "opensmtpq", "u", "v"},
		Dirs: map[string]Dir{
			"/var/empty": {}, "/var/spool/smtpd": {Mode: 0o711},
			"/var/vmail/u": {Owner: "u"}, "/var/vmail/v": {Owner: "v"},
		},
		Files: map[string]string{
			"/etc/tls.pem": cert, "/etc/tls.key": key,
			"/etc/smtpd.conf": listen + `
table aliases file:/etc/aliases
action "local" maildir "/var/vmail/%{user.username}/Maildir" alias <aliases>
match from any for domain "e.test" action "local"
`,
			"/etc/aliases": "postmaster: root\n",
		},
		Command: []string{"/usr/sbin/smtpd", "-d"},
		Listen:  ip + ":25",
	}
}

// SMTPSink is Postfix's smtp-sink on port 25 of ip. It takes everything, into
// files below /var/sink; options are its flags.
func SMTPSink(ip string, options ...string) *Server {
	command := append([]string{"/usr/sbin/smtp-sink"}, options...)
	return &Server{
		Package: "postfix",
		Users:   []string{"sink"},
		Dirs:    map[string]Dir{"/var/sink": {Owner: "sink"}},
		Command: append(command, "-u", "sink", "-d", "/var/sink/%M.", ip+":25", "100"),
		Listen:  ip + ":25",
	}
}
