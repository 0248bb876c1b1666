//go:build linux

package peers

import "strings"

// Courier is a Courier on port 25. It takes logins by PLAIN and LOGIN.
func Courier(h Host) *Server {
	var users strings.Builder
	for _, m := range append(Mailboxes(), SubmissionUser) {
		users.WriteString(m + "\tuid=6102|gid=6102|home=" + vmail + "|shell=/bin/sh|esmtppw=" + courierPassword + "\n")
	}
	return &Server{
		Package: "courier",
		Users:   []string{"courier", "daemon", "vmail"},
		Dirs:    map[string]Dir{vmail: {Owner: "vmail"}},
		Recipe:  "courier",
		Words:   h.words(),
		Files: map[string]string{
			"/usr/local/bin/keep":     keep,
			"/etc/courier/esmtpd.pem": h.Cert + h.Key,
			"/etc/courier/userdb":     users.String(),
		},
		Command: []string{"/bin/sh", "/etc/courier/run"},
		Listen:  h.IP + ":25",
	}
}

// courierPassword is SubmissionPassword as crypt makes it.
const courierPassword = "$5$salt$AnRCoer4MLnqctRxGEukQllZD72nil2YqfpDok8qCY/"
