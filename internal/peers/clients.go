//go:build linux

package peers

import (
	"strings"
)

// Client is where a mail client finds its relay: a name with an address, at port 25,
// and who vouches for its certificate. The name is in the client's hosts file, the
// authority in its file /etc/roots.pem.
type Client struct {
	Relay, IP string
	Roots     string // PEM
	TLS       bool   // STARTTLS is required, of those who are not told on their command line
}

// files are those that every client has.
func (c Client) files(more map[string]string) map[string]string {
	files := map[string]string{
		"/etc/hosts":     "127.0.0.1 localhost client.test\n" + c.IP + " " + c.Relay + "\n",
		"/etc/roots.pem": c.Roots,
	}
	for path, text := range more {
		files[path] = text
	}
	return files
}

// Clients are swaks, msmtp, curl, s-nail and mutt. They are told all on their command
// lines.
func Clients(c Client) *Server {
	return &Server{Package: "clients", Files: c.files(nil)}
}

// Smtplib is Python's smtplib, as the program /srv/send.py.
func Smtplib(c Client) *Server {
	return &Server{Package: "aiosmtpd", Recipe: "smtplib", Files: c.files(nil)}
}

// Nodemailer is Nodemailer, as the program /srv/send.js, which [Node] runs.
func Nodemailer(c Client) *Server {
	return &Server{Mounts: map[string]string{"/opt/npm": "npm"}, Recipe: "nodemailer", Files: c.files(nil)}
}

// Nullmailer is nullmailer. Its nullmailer-send goes through the queue once.
func Nullmailer(c Client) *Server {
	remote := c.Relay + " smtp"
	if c.TLS {
		remote += " starttls x509cafile=/etc/roots.pem"
	}
	return &Server{
		Package: "nullmailer",
		Dirs: map[string]Dir{ // for Debian's user mail, whose programs of the package are
			"/var/spool/nullmailer/queue": everybody(), "/var/spool/nullmailer/tmp": everybody(), "/var/spool/nullmailer/failed": everybody(),
		},
		Files: c.files(map[string]string{
			"/etc/mailname":             "client.test\n",
			"/etc/nullmailer/helohost":  "client.test\n",
			"/etc/nullmailer/pausetime": "0\n",
			"/etc/nullmailer/remotes":   remote + "\n",
		}),
		Before: [][]string{{"/bin/sh", "-c", "mkfifo -m 666 /var/spool/nullmailer/trigger"}},
	}
}

// DMA is the DragonFly mail agent. It checks no certificate.
func DMA(c Client) *Server {
	config := "SMARTHOST " + c.Relay + "\nPORT 25\nMAILNAME client.test\n"
	if c.TLS {
		config += "SECURETRANSFER\nSTARTTLS\n"
	}
	return &Server{
		Package: "dma",
		Users:   []string{"mail"},
		Dirs:    map[string]Dir{"/var/spool/dma": {Owner: "mail", Mode: 0o2775}},
		Files: c.files(map[string]string{
			"/etc/dma/dma.conf": config,
			"/etc/aliases":      "",
		}),
	}
}

// PostfixClient is a Postfix that hands all mail to the relay. It has a daemon.
func PostfixClient(c Client, ip string) *Server {
	s := Postfix(ip, "client.test", "", "", `virtual_mailbox_domains =
relayhost = [`+c.Relay+`]
smtp_host_lookup = native
smtp_tls_security_level = may
smtp_tls_CAfile = /etc/roots.pem
message_size_limit = 50000000
mailbox_size_limit = 0`)
	s.Files = c.files(s.Files)
	return s
}

// EximClient is an Exim that hands all mail to the relay.
func EximClient(c Client) *Server {
	s := Exim("127.0.0.1", "client.test", "", "")
	config, _, _ := strings.Cut(s.Files["/etc/exim4/exim4.conf"], "begin routers\n")
	s.Files = c.files(s.Files)
	s.Files["/etc/exim4/exim4.conf"] = config + `begin routers
smarthost:
  driver = manualroute
  domains = *
  route_list = * ` + c.Relay + ` byname
  self = send
  transport = smtp
begin transports
smtp:
  driver = smtp
  tls_verify_certificates = /etc/roots.pem
begin retry
* * F,2h,15m
begin rewrite
begin authenticators
`
	return s
}

// PHPProgram is PHP's interpreter for the command line.
const PHPProgram = "/usr/bin/php8.2"

// PHP is PHP on a machine whose sendmail is a program of a folder. The program has a
// configuration, and its queue runner is the server. Users are runner and www.
func PHP(folder, config string) *Server {
	const state, run = "/var/lib/nexthop-sendmail", "/run/nexthop-sendmail"
	return &Server{
		Package: "php",
		Users:   []string{"runner", "www"},
		Mounts:  map[string]string{"/opt/sendmail": folder},
		Dirs:    map[string]Dir{state: {Owner: "runner", Mode: 0o711}, run: {Owner: "runner"}},
		Files: map[string]string{
			"/etc/nexthop/sendmail.conf": config,
			"/etc/php.ini":               "sendmail_path = /opt/sendmail/sendmail -t -i\n",
		},
		Command: append(As("runner"), "/opt/sendmail/sendmail", "-bd"),
		Listen:  run + "/submit",
	}
}

// As begins a command that a user of a server's runs.
func As(user string) []string {
	return []string{"/usr/bin/setpriv", "--reuid=" + user, "--regid=" + user, "--clear-groups", "--no-new-privs"}
}
