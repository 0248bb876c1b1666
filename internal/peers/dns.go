//go:build linux

package peers

import (
	"slices"
	"strings"
)

// BIND is BIND on port 53 of ip, which must be an address of an interface (BIND
// looks for them): 127.0.0.1. It is authoritative for the zones given as zone text
// by name, and signs those named in signed.
func BIND(ip string, zones map[string]string, signed ...string) *Server {
	var conf strings.Builder
	conf.WriteString("options { directory \"/var/cache/bind\"; listen-on { " + ip + "; }; listen-on-v6 { none; };" +
		" recursion no; dnssec-validation no; pid-file none; session-keyfile none; };\ncontrols {};\n")
	files := map[string]string{}
	for name, text := range zones {
		file := "/etc/bind/zone." + name
		conf.WriteString("zone \"" + name + "\" { type primary; file \"" + file + "\";")
		if slices.Contains(signed, name) {
			conf.WriteString(" dnssec-policy default; inline-signing yes;")
		}
		conf.WriteString(" };\n")
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

// Unbound is Unbound on port 53 of ip, a validating resolver of the zones that the
// server at authority has. Each anchor is a DNSKEY record that it trusts; it trusts no
// other.
func Unbound(ip, authority string, zones, anchors []string) *Server {
	conf := `server:
	interface: ` + ip + `
	do-daemonize: no
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	val-log-level: 2
	module-config: "validator iterator"
	ede: yes
	do-not-query-localhost: no
	infra-host-ttl: 1
	infra-keep-probing: yes
	local-zone: "test." nodefault
`
	for _, anchor := range anchors {
		conf += "\ttrust-anchor: '" + anchor + "'\n"
	}
	for _, name := range zones {
		conf += "stub-zone:\n\tname: \"" + name + "\"\n\tstub-addr: " + authority + "\n"
	}
	conf += "remote-control:\n\tcontrol-enable: no\n"
	return &Server{
		Package: "unbound",
		Files:   map[string]string{"/etc/unbound/unbound.conf": conf},
		Command: []string{"/usr/sbin/unbound", "-d", "-c", "/etc/unbound/unbound.conf"},
		Listen:  ip + ":53",
	}
}
