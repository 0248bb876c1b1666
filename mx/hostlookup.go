package mx

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// mostHostsBytes bounds the hosts file.
const mostHostsBytes = 16 << 20

// HostLookup says where to look up a host that an operator named, such as a smart host.
// These are the places where other programs on this machine look:
//
//  1. The hosts file. DNS is not asked for a name in that file.
//  2. DNS. A name without a dot is first completed with each domain of the search list in
//     resolv.conf, and then asked for as it is. A name with a dot, also at its end, is
//     never completed, whatever "options ndots" says. If DNS has no answer for a completed
//     name for now, the search ends, because the next name may be another host's.
//
// Both files are read again when they change. If a file can no longer be read, its
// previous content stays in force. The zero value uses the system's files. Set the fields
// before the first use; then it is safe for concurrent use. It must not be copied.
//
// A HostLookup is not used for names from DNS or from the address of a recipient. Those
// are absolute, and only DNS is asked for them.
type HostLookup struct {
	// HostsFile is a file in the form of hosts(5). Default: the system's.
	HostsFile string

	// ResolvConf is a file in the form of resolv.conf(5) with the search list. Default:
	// the system's.
	ResolvConf string

	// DNSOnly ignores both files. Names are complete, and only DNS is asked.
	DNSOnly bool

	// Trace has hooks, of which only Read is called. It may be nil.
	Trace *Trace

	hosts watched[hostsFile]
	conf  confFile
}

// Reread makes the next lookup read both files, even if they seem unchanged. It is safe to
// call at any time.
func (l *HostLookup) Reread() {
	l.hosts.asked.Store(true)
	l.conf.file.asked.Store(true)
}

// HostNotFound means that no address of a host was found, and says where it was looked up.
type HostNotFound struct {
	// Host is the name that was looked up, in canonical form.
	Host string
	// Looked describes the places, in order.
	Looked []string
}

// Error names the places.
func (e *HostNotFound) Error() string {
	return "no address found for the host: " + strings.Join(e.Looked, ", ")
}

// hostsFile is the addresses of each name in a hosts file, in its order.
type hostsFile struct {
	addrs   map[string][]netip.Addr
	ignored []string
}

// parseHosts reads the text of a hosts file. A line without an address is left out.
func parseHosts(text []byte) (*hostsFile, error) {
	const mostIgnored = 32
	f := &hostsFile{addrs: make(map[string][]netip.Addr)}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			if len(f.ignored) < mostIgnored {
				f.ignored = append(f.ignored, fmt.Sprintf("line %d: %s is not an IP address", n, cut(fields[0])))
			}
			continue
		}
		for _, name := range fields[1:] {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			f.addrs[name] = append(f.addrs[name], addr.Unmap())
		}
	}
	return f, nil
}

// file is the hosts file's path.
func (l *HostLookup) file() string {
	if l.HostsFile != "" {
		return l.HostsFile
	}
	if runtime.GOOS == "windows" {
		return filepath.Join(cmp.Or(os.Getenv("SystemRoot"), `C:\Windows`), "System32", "drivers", "etc", "hosts")
	}
	return "/etc/hosts"
}

// inFile is the addresses of a name in the hosts file, and the place in words.
func (l *HostLookup) inFile(name string) (addrs []netip.Addr, place string) {
	path := l.file()
	f, err := l.hosts.look(path, mostHostsBytes, parseHosts, func(f *hostsFile, err error) {
		if errors.Is(err, fs.ErrNotExist) && l.hosts.current() == nil {
			return // a machine without one
		}
		var ignored []string
		if f != nil {
			ignored = f.ignored
		}
		l.Trace.read(path, ignored, err)
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "no file " + path
	case err != nil:
		return nil, err.Error()
	}
	return f.addrs[name], "not in " + path
}

// candidates are the names to ask DNS for, in order, for a canonical name; absolute is
// whether it was written with a dot at its end. note says more about them.
func (l *HostLookup) candidates(name string, absolute bool) (names []string, note string) {
	if absolute {
		return []string{name}, ""
	}
	path := cmp.Or(l.ResolvConf, systemResolvConf)
	conf, err := l.conf.get(path, l.Trace)
	switch {
	case err != nil && errors.Is(err, fs.ErrNotExist):
		return []string{name}, ""
	case err != nil:
		return []string{name}, "no search list: " + err.Error()
	case strings.Contains(name, "."):
		if len(conf.search) > 0 {
			note = "a name with a dot is not completed"
		}
		return []string{name}, note
	}
	for _, domain := range conf.search {
		if full := name + "." + domain; len(full) <= 253 {
			names = append(names, full)
		}
	}
	if !conf.noTLD || len(names) == 0 {
		names = append(names, name)
	}
	return names, ""
}
