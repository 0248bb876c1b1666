//go:build linux

package peers

// Qpsmtpd is a qpsmtpd on port 25. It takes logins by PLAIN, LOGIN and CRAM-MD5, of
// the user with a domain.
func Qpsmtpd(h Host) *Server {
	return &Server{
		Package: "qpsmtpd",
		Users:   []string{"qpsmtpd"},
		Dirs: map[string]Dir{
			vmail: everybody(), "/var/spool/qpsmtpd": {Owner: "qpsmtpd", Mode: 0o700}, "/var/log/qpsmtpd": {Owner: "qpsmtpd"},
		},
		Recipe:  "qpsmtpd",
		Words:   h.words(),
		Files:   map[string]string{"/etc/tls.pem": h.Cert, "/etc/tls.key": h.Key, "/etc/qpsmtpd/rcpthosts": "e.test\n", "/etc/qpsmtpd/relayclients": ""},
		Owner:   map[string]string{"/etc/tls.key": "qpsmtpd"},
		Command: []string{"/usr/bin/env", "QPSMTPD_CONFIG=/etc/qpsmtpd", "/usr/bin/perl", "-T", "/usr/bin/qpsmtpd-forkserver", "-u", "qpsmtpd", "-l", h.IP, "-p", "25", "-H"},
		Logs:    "/var/log/qpsmtpd",
		Listen:  h.IP + ":25",
	}
}
