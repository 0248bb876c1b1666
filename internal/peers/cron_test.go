//go:build linux

package peers_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// cronMachine is a machine with cron, at, anacron and mailx, whose sendmail is
// examples/sendmail, and its runner a service.
type cronMachine struct {
	machine
	hop *smtptest.Host
}

const runnerService = "nexthop-sendmail.service"

func newCronMachine(t *testing.T) *cronMachine {
	t.Helper()
	files := installed(t, map[string]string{
		"/etc/systemd/system/nexthop-sendmail.service": "../../examples/sendmail/nexthop-sendmail.service",
		"/etc/sysusers.d/nexthop-sendmail.conf":        "../../examples/sendmail/nexthop-sendmail.conf",
		"/usr/local/lib/nexthop/sendmail":              filepath.Join(os.Getenv(builtPath), "sendmail"),
	})
	files["/etc/nexthop/sendmail.conf"] = "domain = web.e.test\nhelo = web.e.test\nloopback = true\nport = 2525\nretry = 100ms\n" +
		"collect-every = 100ms\nalias = *=ops@e.test\n"
	files["/etc/crontab.www"] = "@reboot echo the job says hello; echo and this >&2\n"
	files["/etc/anacrontab"] = "SHELL=/bin/sh\nLOGNAME=root\nRANDOM_DELAY=0\n1 0 daily echo anacron says hello\n"
	m := &cronMachine{machine: machine{t: t}, hop: &smtptest.Host{
		Name: "hop.e.test", Extensions: []string{"8BITMIME"},
		Allow: []smtptest.Rule{smtptest.RuleNoQuit, smtptest.RuleUTF8Header}, // the runner is killed, and mailx encodes no header
	}}
	m.Machine = &peers.Machine{Server: peers.Server{
		Package: "systemd", More: []string{"cron"},
		Users: []string{"www", "crontab"},
		Dirs: map[string]peers.Dir{
			"/var/empty": {}, "/var/spool/cron/crontabs": {Mode: 0o1730}, "/var/spool/anacron": {},
			"/var/spool/cron/atjobs": {Mode: 0o1770}, "/var/spool/cron/atspool": {Mode: 0o1770},
		},
		Files: files,
		Before: [][]string{
			{"/bin/chmod", "755", "/usr/local/lib/nexthop/sendmail"},
			{"/bin/ln", "-sf", "/usr/local/lib/nexthop/sendmail", "/usr/sbin/sendmail"},
			{"/bin/ln", "-sf", "/usr/local/lib/nexthop/sendmail", "/usr/bin/mailq"},
			// Debian's user daemon, as which at runs, has the number 1.
			{"/bin/sh", "-euc", "echo daemon:x:1:1::/usr/sbin:/bin/false >>/etc/passwd; echo daemon:x:1: >>/etc/group; " +
				"touch /var/spool/cron/atjobs/.SEQ; chown -R 1:1 /var/spool/cron/atjobs /var/spool/cron/atspool"},
			{"/usr/bin/crontab", "-u", "www", "/etc/crontab.www"},
		},
	}}
	m.Boot(t)
	m.must("systemd-sysusers")
	m.must("systemctl", "enable", "--now", "nexthop-sendmail")
	return m
}

// start starts cron as after a boot: its jobs of @reboot run.
func (m *cronMachine) start() {
	m.t.Helper()
	m.must("sh", "-c", "rm -f /run/crond.reboot; systemctl restart cron")
}

// arrives waits for the nth message with a word, and looks for the others in it.
func (m *cronMachine) arrives(n int, from, to, word string, others ...string) {
	m.t.Helper()
	peers.Eventually(m.t, fmt.Sprintf("message %d with %q", n, word), func() bool {
		seen := 0
		for _, message := range m.hop.Messages() {
			content := string(message.Content)
			if !strings.Contains(content, word) {
				continue
			}
			if seen++; seen < n {
				continue
			}
			for _, other := range others {
				if !strings.Contains(content, other) {
					m.t.Errorf("not %q: %s", other, content)
				}
			}
			if got := strings.Join(message.To(), ","); message.From != from || got != to {
				m.t.Errorf("it is from %s to %s, want from %s to %s", message.From, got, from, to)
			}
			return true
		}
		return false
	})
}

// TestSendmailUnderSystemd has programs of Debian's send mail by examples/sendmail. At
// first there is no network.
func TestSendmailUnderSystemd(t *testing.T) {
	m := newCronMachine(t)
	const job = "\r\n\r\nthe job says hello\r\nand this\r\n"
	m.start()
	peers.Eventually(t, "the job's output in the queue", func() bool { return strings.Contains(m.must("mailq"), "ops@e.test") })
	dns := &mxtest.Server{Listen: "127.0.0.1:53", DNS: &mxtest.DNS{Zone: "e.test. MX 10 hop.e.test.\nhop.e.test. A 127.0.2.1\n"}}
	if err := dns.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dns.Close() })
	serve(t, "127.0.2.1:2525", m.hop)
	m.sub("the output of a job of cron waits for the network", func(*testing.T) {
		m.arrives(1, "www@web.e.test", "ops@e.test", job, "\r\nSubject: Cron <www@", "\r\nTo: www", "\r\nFrom: ", "\r\nMessage-ID: ")
	})
	m.sub("the runner has no privilege", func(t *testing.T) {
		m.confined(runnerService)
		const want = "nexthop-mail nexthop-mail 3733\nnexthop-mail nexthop-mail 700"
		if got := m.must("stat", "--format=%U %G %a", "/var/lib/nexthop-sendmail/maildrop", "/var/lib/nexthop-sendmail/queue"); got != want {
			t.Errorf("maildrop and queue have owners and modes %q, want %q", got, want)
		}
	})
	m.sub("without a runner the output waits in the maildrop", func(t *testing.T) {
		m.must("systemctl", "stop", runnerService)
		m.start()
		peers.Eventually(t, "the mail in the maildrop", func() bool { return m.must("ls", "/var/lib/nexthop-sendmail/maildrop") != "" })
		m.must("systemctl", "start", runnerService)
		m.arrives(2, "www@web.e.test", "ops@e.test", job)
	})
	m.sub("a killed runner is started again", func(*testing.T) {
		m.must("systemctl", "kill", "--signal=KILL", runnerService)
		m.start()
		m.arrives(3, "www@web.e.test", "ops@e.test", job)
	})
	m.sub("at", func(*testing.T) {
		m.must("systemctl", "start", "atd")
		m.must("sh", "-c", "cd /; echo 'echo at says hello' | at now")
		m.arrives(1, "root@web.e.test", "ops@e.test", "\r\n\r\nat says hello\r\n", "\r\nSubject: Output from your job")
	})
	m.sub("anacron", func(*testing.T) {
		m.must("anacron", "-d", "-f", "-n", "-s")
		m.arrives(1, "root@web.e.test", "ops@e.test", "\r\n\r\nanacron says hello\r\n", "\r\nSubject: Anacron job 'daily'")
	})
	m.sub("mailx", func(*testing.T) {
		m.must("sh", "-c", `printf 'by hand\n.\nto the end\n' | setpriv --reuid=www --regid=www --clear-groups bsd-mailx -s 'Grüße' -c v@e.test u@e.test`)
		m.arrives(1, "www@web.e.test", "u@e.test,v@e.test", "\r\n\r\nby hand\r\n", "\r\nCc: v@e.test\r\n", "Subject: ")
	})
	m.hop.Check(t)
}
