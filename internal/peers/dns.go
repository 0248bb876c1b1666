//go:build linux

package peers

import "strings"

// BIND is BIND on port 53 of ip, which must be an address of an interface (BIND
// looks for them): 127.0.0.1. It is authoritative for the zones given as zone text
// by name.
func BIND(ip string, zones map[string]string) *Server {
	var conf strings.Builder
	conf.WriteString("options { directory \"/var/cache/bind\"; listen-on { " + ip + "; }; listen-on-v6 { none; };" +
		" recursion no; dnssec-validation no; pid-file none; session-keyfile none; };\ncontrols {};\n")
	files := map[string]string{}
	for name, text := range zones {
		file := "/etc/bind/zone." + name
		conf.WriteString("zone \"" + name + "\" { type primary; file \"" + file + "\"; };\n")
		files[file] = "$TTL 60\n@ IN SOA ns.invalid. root.invalid. 1 3600 600 86400 60\n@ IN NS ns.invalid.\n" + text + "\n"
	}
	files["/etc/bind/named.conf"] = conf.String()
	return &Server{
		Package: "bind",
		Users:   []string{"bind"},
		Dirs:    map[string]Dir{"/var/cache/bind": {}, "/run/named": {}},
		Files:   files,
		Command: []string{"/usr/sbin/named", "-g", "-n", "1", "-c", "/etc/bind/named.conf"},
		Listen:  ip + ":53",
	}
}
