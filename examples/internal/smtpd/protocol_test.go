package smtpd

import (
	"net/netip"
	"strings"
	"testing"
)

// everybody trusts all clients.
func everybody(netip.Addr) bool { return true }

// mailInBody is mail that somebody else wrote into what a client sends.
const mailInBody = "EHLO evil.example\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nSubject: s\r\n\r\nposted\r\n.\r\nQUIT\r\n"

// TestOtherProtocols: the session ends at the first line that is another protocol's,
// and no line behind it is read as a command, also of a client that is trusted.
func TestOtherProtocols(t *testing.T) {
	const header = "Host: 127.0.0.1:2525\r\nContent-Type: text/plain\r\nOrigin: http://evil.example\r\n\r\n"
	beforeHello := map[string]string{
		"HTTP GET":                  "GET / HTTP/1.1\r\n" + header,
		"HTTP POST":                 "POST / HTTP/1.1\r\n" + header,
		"HTTP PUT":                  "PUT /x HTTP/1.0\r\n" + header,
		"HTTP OPTIONS":              "OPTIONS * HTTP/1.1\r\n" + header,
		"HTTP CONNECT":              "CONNECT mail.example.com:25 HTTP/1.1\r\n" + header,
		"HTTP in small letters":     "get / http/1.1\r\n" + header,
		"HTTP behind a blank":       " POST / HTTP/1.1\r\n" + header,
		"HTTP/0.9":                  "GET /\r\n",
		"HTTP/2":                    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"WebDAV":                    "PROPFIND /x HTTP/1.1\r\n" + header,
		"SSDP":                      "M-SEARCH * HTTP/1.1\r\n" + header,
		"PROXY":                     "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
		"SIP":                       "REGISTER sip:example.com SIP/2.0\r\n" + header,
		"RTSP":                      "DESCRIBE rtsp://example.com/x RTSP/1.0\r\n" + header,
		"SSH":                       "SSH-2.0-OpenSSH_9.9\r\n",
		"FTP":                       "USER anonymous\r\n",
		"POP3":                      "CAPA\r\n",
		"IMAP":                      "a001 LOGIN x y\r\n",
		"LMTP":                      "LHLO x\r\n",
		"IRC":                       "NICK x\r\n",
		"redis, inline":             "SET x y\r\n",
		"redis":                     "*1\r\n$4\r\nPING\r\n",
		"a header field":            "Subject: s\r\n",
		"a folded header field":     "Received: from x\r\n",
		"a header field, odd":       "X-Spam_Status:yes\r\n",
		"a dot":                     ".\r\n",
		"JSON":                      "{\"x\": 1}\r\n",
		"XML":                       "<?xml version='1.0'?>\r\n",
		"a boundary":                "------WebKitFormBoundary\r\n",
		"octets beyond ASCII":       "\xff\xfd\x18\r\n",
		"letters beyond ASCII":      "EHLÖ me\r\n",
		"a command behind a NUL":    "\x00EHLO me\r\n",
		"a command in another code": "E\x00H\x00L\x00O\x00\r\n",
	}
	for name, said := range beforeHello {
		t.Run("before EHLO "+name, func(t *testing.T) {
			r := start(t, &Server{Trusted: everybody})
			c := r.dial(t)
			c.want("220")
			c.say(said + mailInBody)
			c.want("521 5.5.2", "")
			if n := len(r.all()); n != 0 {
				t.Errorf("%d messages", n)
			}
		})
	}
	for _, line := range []string{"FROB x HTTP/0.9", "FROB x HTTP/9", "A.B", "A_B"} {
		t.Run("after EHLO "+line, func(t *testing.T) {
			c := start(t, &Server{Trusted: everybody}).dial(t)
			c.say("EHLO me\r\n" + line + "\r\n")
			c.want("220", "250", "521 5.5.2", "")
		})
	}
	for _, name := range []string{"HTTP GET", "HTTP POST", "HTTP CONNECT", "HTTP/0.9", "SIP", "redis", "a header field", "a dot", "JSON", "octets beyond ASCII", "letters beyond ASCII"} {
		for where, before := range map[string]string{"after EHLO ": "EHLO me\r\n", "in an envelope ": envelope} {
			t.Run(where+name, func(t *testing.T) {
				r := start(t, &Server{Trusted: everybody})
				c := r.dial(t)
				c.want("220")
				c.say(before + beforeHello[name] + mailInBody)
				for range strings.Count(before, "\r\n") {
					c.want("250")
				}
				c.want("521 5.5.2", "")
				if n := len(r.all()); n != 0 {
					t.Errorf("%d messages", n)
				}
			})
		}
	}
}

// TestOtherProtocolsInOctets: what cannot become a command is not waited through: the
// session ends with the first octet, though the line never does.
func TestOtherProtocolsInOctets(t *testing.T) {
	for name, said := range map[string]string{
		"TLS":        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"RDP":        "\x03\x00\x00\x2a\x25\xe0\x00\x00\x00\x00\x00Cookie: mstshash=x",
		"SOCKS":      "\x05\x01\x00",
		"MQTT":       "\x10\x10\x00\x04MQTT",
		"PostgreSQL": "\x00\x00\x00\x08\x04\xd2\x16\x2f",
		"SMB":        "\x00\x00\x00\x85\xffSMBr",
		"LDAP":       "0\x0c\x02\x01\x01\x60\x07",
		"telnet":     "\xff\xfb\x1f",
		"STUN":       "\x00\x01\x00\x00\x21\x12\xa4\x42",
		"NUL":        "\x00",
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, &Server{Trusted: everybody}).dial(t)
			c.want("220")
			c.say(said)
			c.want("521 5.5.2", "")
		})
	}
}

// TestOddButMail: what a mail client may say is answered, and the session goes on.
func TestOddButMail(t *testing.T) {
	for name, dialog := range map[string][]string{
		"a client that talks before the greeting": {"NOOP", "250"},
		"an empty line":                         {"", "500 5.5.2"},
		"a blank first":                         {" NOOP", "500 5.5.2"},
		"a command nobody knows":                {"EHLO me", "250", "FROB", "500 5.5.2"},
		"a private command":                     {"XCLIENT ADDR=192.0.2.1", "500 5.5.2"},
		"a command that is not offered":         {"AUTH PLAIN x", "500 5.5.2", "ETRN example.com", "500 5.5.2", "EXPN x", "500 5.5.2"},
		"a tab behind a verb":                   {"EHLO\tme", "250", "MAIL\tFROM:<a@example.org>", "250"},
		"a verb of letters, digits and hyphens": {"EHLO me", "250", "FROB-A0", "500 5.5.2", "Z9", "500 5.5.2", "A5", "500 5.5.2"},
		"something like a request":              {"EHLO me", "250", "FROB HTTP/1", "500 5.5.2", "FROB x y", "500 5.5.2", "FROB x /1", "500 5.5.2", "FROB x HTTP/", "500 5.5.2", "FROB x HTTP/v1", "500 5.5.2", "FROB x HTTP/.1", "500 5.5.2", "FROB x h2/1", "500 5.5.2"},
		"a name like a request":                 {"EHLO me/1.1", "501 5.5.4", "NOOP / HTTP/1.1", "250"},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, &Server{}).dial(t)
			if name != "a client that talks before the greeting" {
				c.want("220")
			}
			for i := 0; i < len(dialog); i += 2 {
				c.say(dialog[i] + "\r\n")
				if i == 0 && name == "a client that talks before the greeting" {
					c.want("220")
				}
				c.want(dialog[i+1])
			}
			c.say("QUIT\r\n")
			c.want("221", "")
		})
	}
}
