//go:build linux

package peers

import "strings"

// Chasquid is a chasquid on port 25, and on port 587 for logins by PLAIN.
func Chasquid(h Host) *Server {
	certs := "/etc/chasquid/certs/" + h.Name + "/"
	// A user has a password here, although no mailbox is used to log in.
	var users strings.Builder
	for _, m := range Mailboxes() {
		users.WriteString("users: { key: \"" + m + "\" value: { plain: { password: \"none\" } } }\n")
	}
	return &Server{
		Package: "chasquid",
		Dirs:    map[string]Dir{vmail: everybody(), "/var/lib/chasquid": {}},
		Recipe:  "chasquid",
		Words:   h.words(),
		Files: map[string]string{
			"/usr/local/bin/keep":                keep,
			certs + "fullchain.pem":              h.Cert,
			certs + "privkey.pem":                h.Key,
			"/etc/chasquid/domains/e.test/users": users.String(),
		},
		Before:  [][]string{{"/usr/bin/chasquid-util", "-C=/etc/chasquid", "user-add", SubmissionUser + "@e.test", "--password=" + SubmissionPassword}},
		Command: []string{"/usr/bin/chasquid", "--config_dir=/etc/chasquid"},
		Listen:  h.IP + ":25",
	}
}
