//go:build linux

package peers

// Aiosmtpd is a server by Python's aiosmtpd on port 25. It takes logins by PLAIN and
// LOGIN.
func Aiosmtpd(h Host) *Server {
	return &Server{
		Package: "aiosmtpd",
		Recipe:  "aiosmtpd",
		Words:   h.words(),
		Files:   map[string]string{"/etc/tls.pem": h.Cert, "/etc/tls.key": h.Key},
		Command: []string{"/usr/bin/python3", "/srv/server.py"},
		Listen:  h.IP + ":25",
	}
}

// GoSMTP is a server by emersion/go-smtp on port 25: the command gosmtp, built into
// a folder. It takes logins by PLAIN.
func GoSMTP(h Host, folder string) *Server {
	return &Server{
		Mounts:  map[string]string{"/opt/gosmtp": folder},
		Files:   map[string]string{"/etc/tls.pem": h.Cert, "/etc/tls.key": h.Key},
		Command: []string{"/opt/gosmtp/gosmtp", h.IP + ":25", h.Name, "/etc/tls.pem", "/etc/tls.key", SubmissionUser, SubmissionPassword},
		Listen:  h.IP + ":25",
	}
}
