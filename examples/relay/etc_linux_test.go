package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// etc is the /etc of a relay, in a namespace of its own.
type etc struct {
	t   *testing.T
	dir string
}

func newEtc(t *testing.T, hosts, resolvConf string) *etc {
	t.Helper()
	e := &etc{t, t.TempDir()}
	e.replace("hosts", hosts)
	e.replace("resolv.conf", resolvConf)
	return e
}

// replace puts a file in the place of another one.
func (e *etc) replace(name, text string) {
	e.t.Helper()
	fresh := filepath.Join(e.dir, name+".new")
	err := os.WriteFile(fresh, []byte(text), 0o644)
	if err == nil {
		err = os.Rename(fresh, filepath.Join(e.dir, name))
	}
	if err != nil {
		e.t.Fatal(err)
	}
}

// write writes a file in its place.
func (e *etc) write(name, text string) {
	e.t.Helper()
	if err := os.WriteFile(filepath.Join(e.dir, name), []byte(text), 0o644); err != nil {
		e.t.Fatal(err)
	}
}

// link has a name lead to a file by a link that is put in the place of the name, as
// the files of Kubernetes are renewed.
func (e *etc) link(name, text string) {
	e.t.Helper()
	target := fmt.Sprintf("..%s.%d", name, len(text))
	e.replace(target, text)
	fresh := filepath.Join(e.dir, name+".link")
	err := os.Symlink(target, fresh)
	if err == nil {
		err = os.Rename(fresh, filepath.Join(e.dir, name))
	}
	if err != nil {
		e.t.Fatal(err)
	}
}

// relay starts a relay there. It asks no DNS servers but those of resolv.conf.
func (e *etc) relay(w *world, args ...string) *process {
	e.t.Helper()
	c := command(append([]string{"-listen", "127.0.0.1:0", "-port", w.port, "-loopback", "-helo", "relay.example.net", "-queue", inMemory, "-retry", "1s", "-timeout", "5s"}, args...)...)
	c.Args = append([]string{os.Args[0], "etc"}, c.Args...)
	c.Path, c.Env = os.Args[0], append(os.Environ(), "RELAY_TEST_ETC="+e.dir)
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	r := &process{t: e.t}
	r.launch(c)
	return r
}

// nameserver starts a DNS server and is its line of resolv.conf, which has the port as
// OpenBSD writes it.
func nameserver(t *testing.T, zone string) (line string) {
	t.Helper()
	s := &mxtest.Server{DNS: &mxtest.DNS{Zone: zone}}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	ip, port, _ := strings.Cut(s.Addr(), ":")
	return fmt.Sprintf("nameserver [%s]:%s\n", ip, port)
}

// TestSmartHostsAsTheMachineFindsThem: a smart host that stands in the hosts file alone,
// under one of several names, with several addresses or one of IPv6, or that the search
// list completes. The domain of a recipient is never found that way.
func TestSmartHostsAsTheMachineFindsThem(t *testing.T) {
	server := nameserver(t, "mailhog.default.svc.cluster.test. 60 A 127.0.0.2\nfull.example.net. 60 A 127.0.0.2\nnet. 60 NS ns.\n")
	for name, c := range map[string]struct{ host, hosts, ip string }{
		"in the hosts file":        {"mailrelay", "127.0.0.2 mailrelay\n", "127.0.0.2"},
		"an alias":                 {"Alias", "# old\n127.0.0.2\trelay.corp.test relay alias # new\r\n", "127.0.0.2"},
		"several addresses":        {"mailrelay", "127.0.0.9 mailrelay\n127.0.0.2 mailrelay\n", "127.0.0.2"},
		"IPv6 alone":               {"mailrelay", "::1 mailrelay\n", "::1"},
		"an underscore":            {"mail_relay", "127.0.0.2 mail_relay\n", "127.0.0.2"},
		"with dots":                {"relay.corp.test", "127.0.0.2 relay.corp.test\n", "127.0.0.2"},
		"by the search list":       {"mailhog", "", "127.0.0.2"},
		"complete, with a dot":     {"full.example.net.", "", "127.0.0.2"},
		"complete, without a dot":  {"full.example.net", "", "127.0.0.2"},
		"localhost, in no file":    {"localhost", "", "127.0.0.1"},
		"a hosts file of no sense": {"mailrelay", "nothing\n\n127.0.0.2 mailrelay", "127.0.0.2"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, zone)
			h := modern("relay")
			w.start(c.ip, h)
			e := newEtc(t, c.hosts, server+"search corp.test default.svc.cluster.test\n")
			r := e.relay(w, "-smarthost", "smtp://"+c.host+":"+w.port+"?tls=none")
			arrives(t, r, h, "found", "b@example.com")
			r.stop()
		})
	}
	t.Run("no recipient's domain", func(t *testing.T) {
		w := newWorld(t, zone)
		e := newEtc(t, "127.0.0.2 mailrelay.test example.test mailhog\n", server+"search default.svc.cluster.test\n")
		events := filepath.Join(t.TempDir(), "events")
		r := e.relay(w, "-events", events)
		h := modern("relay")
		w.start("127.0.0.2", h)
		for _, to := range []string{"b@mailhog", "b@example.test"} {
			if _, err := submit(t, r.client("127.0.0.1"), "x", to); err != nil {
				t.Fatal(err)
			}
			eventually(t, to+" fails", func() bool {
				text, _ := os.ReadFile(events)
				return slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
					return strings.Contains(line, `"event":"failed"`) && strings.Contains(line, `"recipient":"`+to+`"`)
				})
			})
		}
		if n := len(h.Messages()); n != 0 {
			t.Errorf("%d messages went to a host that is not the domain's", n)
		}
		r.stop()
	})
}

// TestNamesAreFollowedWhileRunning: resolv.conf names other servers, and the hosts file
// other addresses, while the relay runs. Also what the servers of before have said is
// asked for again.
func TestNamesAreFollowedWhileRunning(t *testing.T) {
	const domain = "example.com. 3600 MX 10 mail.example.com.\nmail.example.com. 3600 A "
	first := nameserver(t, domain+"127.0.0.2\n")
	second := nameserver(t, domain+"127.0.0.3\n")
	for name, change := range map[string]func(e *etc, name, text string){
		"replaced":         (*etc).replace,
		"written in place": (*etc).write,
		"by a link":        (*etc).link,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, zone)
			before, after := modern("before"), modern("after")
			w.start("127.0.0.2", before)
			w.start("127.0.0.3", after)
			e := newEtc(t, "127.0.0.2 mailrelay\n", first)
			direct := e.relay(w)
			smart := e.relay(w, "-smarthost", "smtp://mailrelay:"+w.port+"?tls=none")
			arrives(t, direct, before, "direct", "b@example.com")
			arrives(t, smart, before, "smart", "b@example.com")
			change(e, "resolv.conf", second)
			change(e, "hosts", "127.0.0.3 mailrelay\n")
			for _, r := range []*process{direct, smart} {
				_ = r.Process.Signal(syscall.SIGHUP)
				n := 0
				eventually(t, "mail goes by the new files", func() bool {
					n++
					subject := fmt.Sprintf("%d of %d", n, r.Process.Pid)
					if _, err := submit(t, r.client("127.0.0.1"), subject, "b@example.com"); err != nil {
						t.Fatal(err)
					}
					eventually(t, subject+" arrives", func() bool {
						return slices.Contains(subjects(before), subject) || slices.Contains(subjects(after), subject)
					})
					return slices.Contains(subjects(after), subject)
				})
			}
			e.write("resolv.conf", "")
			if err := os.Remove(filepath.Join(e.dir, "hosts")); err != nil {
				t.Fatal(err)
			}
			for i, r := range []*process{direct, smart} {
				_ = r.Process.Signal(syscall.SIGHUP)
				arrives(t, r, after, fmt.Sprintf("old in force %d", i), "b@example.com")
				r.stop()
			}
		})
	}
}

// TestSmartHostWithoutDNS: a machine without resolv.conf can use a smart host that is an
// address, or in the hosts file. Without one, the relay does not start.
func TestSmartHostWithoutDNS(t *testing.T) {
	for _, name := range []string{"[127.0.0.2]", "mailrelay"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, zone)
			h := modern("relay")
			w.start("127.0.0.2", h)
			e := &etc{t, t.TempDir()}
			e.replace("hosts", "127.0.0.2 mailrelay\n")
			r := e.relay(w, "-smarthost", "smtp://"+name+":"+w.port+"?tls=none")
			arrives(t, r, h, "without DNS", "b@example.com")
			r.stop()
		})
	}
}
