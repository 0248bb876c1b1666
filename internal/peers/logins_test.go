//go:build linux

package peers_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// The user of the relay, with a password that has characters of meaning elsewhere.
const (
	loginUser     = "user@from.test"
	loginPassword = "pass,word=%41 \u00fc!"
)

// loginClient is a client that logs in by a mechanism, with a password.
type loginClient struct {
	name, mechanism string
	tree            func(peers.Client) *peers.Server
	serve           bool
	args            func(password string) []string
}

func loginClients() []loginClient {
	postfix := func(mechanism string) func(peers.Client) *peers.Server {
		return func(c peers.Client) *peers.Server {
			s := peers.PostfixClient(c, map[string]string{"plain": "127.0.5.1", "scram-sha-256": "127.0.5.2"}[mechanism])
			s.Package = "submission" // with Cyrus SASL
			s.Files["/etc/postfix/main.cf"] += `
relayhost = [` + relayName + `]:25
smtp_tls_security_level = encrypt
smtp_sasl_auth_enable = yes
smtp_sasl_security_options = noanonymous
smtp_sasl_tls_security_options = noanonymous
smtp_sasl_mechanism_filter = ` + mechanism + `
smtp_sasl_password_maps = texthash:/etc/postfix/password
maximal_queue_lifetime = 0
`
			s.Files["/etc/postfix/password"] = "[" + relayName + "]:25 " + loginUser + ":" + loginPassword + "\n"
			return s
		}
	}
	submit := func(string) []string {
		return []string{"/usr/sbin/sendmail", "-i", "-f", loginUser, "u@e.test"}
	}
	list := []loginClient{
		{name: "swaks", mechanism: "PLAIN", tree: peers.Clients, args: func(password string) []string {
			return []string{"/usr/bin/swaks", "--server", relayName, "--port", "25", "--helo", "client.test", "--from", loginUser, "--to", "u@e.test", "--data", "-",
				"--tls", "--tls-verify", "--tls-ca-path", "/etc/roots.pem", "--auth", "PLAIN", "--auth-user", loginUser, "--auth-password", password}
		}},
		{name: "curl", mechanism: "PLAIN", tree: peers.Clients, args: func(password string) []string {
			return []string{"/usr/bin/env", "LC_ALL=C.UTF-8", "/usr/bin/curl", "-sS", "--url", "smtp://" + relayName + "/client.test", "--mail-from", loginUser,
				"--mail-rcpt", "u@e.test", "--cacert", "/etc/roots.pem", "--ssl-reqd", "--user", loginUser + ":" + password, "--upload-file", "-"}
		}},
		{name: "smtplib", mechanism: "PLAIN", tree: peers.Smtplib, args: func(password string) []string {
			return []string{"/usr/bin/env", "LC_ALL=C.UTF-8", "/usr/bin/python3", "-c", `import smtplib, ssl, sys
host, user, password = sys.argv[1:]
with smtplib.SMTP(host, 25, local_hostname="client.test") as s:
    s.starttls(context=ssl.create_default_context(cafile="/etc/roots.pem"))
    s.ehlo()
    s.user, s.password = user, password
    code, _ = s.docmd("AUTH", "PLAIN " + __import__("base64").b64encode(("\0" + user + "\0" + password).encode()).decode())
    if code != 235: sys.exit("refused: %d" % code)
    s.sendmail(user, ["u@e.test"], sys.stdin.buffer.read())`, relayName, loginUser, password}
		}},
		{name: "Postfix", mechanism: "PLAIN", tree: postfix("plain"), serve: true, args: submit},
		{name: "Postfix", mechanism: "SCRAM-SHA-256", tree: postfix("scram-sha-256"), serve: true, args: submit},
		{name: "mutt", mechanism: "SCRAM-SHA-256", tree: peers.Clients, args: func(password string) []string {
			return []string{"/usr/bin/env", "HOME=/root", "LC_ALL=C.UTF-8", "/usr/bin/mutt", "-n", "-F", "/dev/null",
				"-e", "set smtp_url='smtp://" + strings.ReplaceAll(loginUser, "@", "%40") + "@" + relayName + ":25/' hostname=client.test from=" + loginUser + " use_envelope_from=yes copy=no record=''",
				"-e", "set ssl_ca_certificates_file=/etc/roots.pem ssl_starttls=yes ssl_force_tls=yes tmpdir=/tmp",
				"-e", "set smtp_authenticators=scram-sha-256 smtp_pass='" + password + "'",
				"-s", "by mutt", "--", "u@e.test"}
		}},
	}
	for _, mechanism := range []string{"plain", "scram-sha-256"} {
		list = append(list, loginClient{name: "msmtp", mechanism: strings.ToUpper(mechanism), tree: peers.Clients, args: func(password string) []string {
			return []string{"/usr/bin/env", "LC_ALL=C.UTF-8", "/usr/bin/msmtp", "--host=" + relayName, "--port=25", "--domain=client.test", "--from=" + loginUser, "--auth=" + mechanism,
				"--user=" + loginUser, "--passwordeval=printf '%s' '" + password + "'", "--tls=on", "--tls-starttls=on", "--tls-trust-file=/etc/roots.pem", "--", "u@e.test"}
		}})
	}
	return list
}

// TestLogins has real mail clients log in to the relay, with the right password and with
// another. What they send arrives as mail of somebody who has logged in.
func TestLogins(t *testing.T) {
	w := &world{}
	w.newRoot(t)
	dns := &mxtest.Server{Listen: "127.0.0.1:53", DNS: &mxtest.DNS{Zone: "e.test. MX 10 hop.e.test.\nhop.e.test. A 127.0.2.1\nfrom.test. MX 10 hop.e.test.\n"}}
	if err := dns.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dns.Close() })
	hop := &smtptest.Host{Name: "hop.e.test"}
	serve(t, "127.0.2.1:25", hop)
	users := filepath.Join(t.TempDir(), "logins")
	passwd := exec.Command(filepath.Join(os.Getenv(builtPath), "relay"), "passwd", "-logins", users, loginUser)
	passwd.Stdin = strings.NewReader(loginPassword + "\n")
	if out, err := passwd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cert, key := w.pem(t, relayName)
	certFile, keyFile := file(t, cert), file(t, key)
	t.Run("all", func(t *testing.T) {
		for i, c := range loginClients() {
			t.Run(c.mechanism+" "+c.name, func(t *testing.T) {
				t.Parallel()
				ip := fmt.Sprintf("127.0.6.%d", i+1)
				relay(t, ip+":25", "-trust", "192.0.2.1", "-logins", users, "-cert", certFile, "-key", keyFile)
				s := c.tree(peers.Client{Relay: relayName, IP: ip, Roots: string(w.rootPEM()), TLS: true})
				if c.serve {
					s.Start(t)
				} else {
					s.Unpack(t)
				}
				send := func(password string) (string, error) {
					text := "From: " + loginUser + "\r\nSubject: s\r\n\r\n" + c.mechanism + " by " + c.name + "\r\n"
					if c.serve || c.name == "mutt" { // which take it as programs of the machine's have it
						text = strings.ReplaceAll(text, "\r", "")
					}
					return s.Run(t.Context(), strings.NewReader(text), c.args(password)...)
				}
				if !c.serve { // a queue would try again
					if out, err := send("another"); err == nil {
						t.Errorf("with another password: %s", out)
					}
				}
				if out, err := send(loginPassword); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				var arrived []smtptest.Message
				peers.Eventually(t, "the mail at the next hop", func() bool {
					arrived = nil
					for _, m := range hop.Messages() {
						if bytes.Contains(m.Content, []byte(c.mechanism+" by "+c.name)) {
							arrived = append(arrived, m)
						}
					}
					return len(arrived) > 0
				})
				if len(arrived) != 1 || !withLogin.Match(arrived[0].Content) {
					t.Errorf("%d messages arrived, the first of them %.300q", len(arrived), arrived[0].Content)
				}
			})
		}
	})
	hop.Check(t)
}

var withLogin = regexp.MustCompile(`\tby ` + regexp.QuoteMeta(relayName) + ` with ESMTPSA id`)
