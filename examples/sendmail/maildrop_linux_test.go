package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// setUp has the runner make its directories.
func (m *machine) setUp() {
	m.t.Helper()
	m.start().end()
}

// as runs a shell command as a user.
func (m *machine) as(uid int, script string) (string, error) {
	c := exec.Command("sh", "-c", script)
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	out, err := c.CombinedOutput()
	return string(out), err
}

// TestMaildropWithoutARunner: mail is taken while no runner runs, and goes out when one does,
// as that of who has submitted it.
func TestMaildropWithoutARunner(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.setUp()
	m.send(alice, "To: b@example.com\nSubject: of alice\n\nx\n", "-t")
	m.send(bob, "To: c@example.com\nSubject: of bob\n\n"+strings.Repeat("a line of a message that is not in memory\n", 50_000), "-t")
	m.send(root, "To: root@example.com\nSubject: of root\n\nx\n", "-t")
	if n := len(m.files("maildrop")); n != 3 {
		t.Errorf("%d files are in the maildrop, want 3", n)
	}
	m.start()
	_, _ = m.arrives(3)
	for _, got := range m.mail.Messages() {
		want := map[string]string{"b@example.com": "userid 61001", "c@example.com": "userid 65534", "root@example.com": "userid 0"}[got.To()[0]]
		if !strings.Contains(string(got.Content), "from "+want+")") {
			t.Errorf("the mail to %s is not from %s: %.200q", got.To(), want, got.Content)
		}
	}
	eventually(t, "the maildrop is empty", func() bool { return len(m.files("maildrop")) == 0 })
	if names := m.files("rejected"); len(names) > 0 {
		t.Errorf("rejected: %q", names)
	}
}

// TestMaildropIsNobodyElses: others cannot list it, nor read, change, replace, remove or
// rename what is in it, though they know its name.
func TestMaildropIsNobodyElses(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.setUp()
	m.send(alice, "To: b@example.com\nSubject: secret\n\nx\n", "-t")
	name := filepath.Join(m.dir, "state/maildrop", m.files("maildrop")[0])
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, script := range map[string]string{
		"list":                  "ls " + filepath.Dir(name),
		"read":                  "cat " + name,
		"change":                "echo x >> " + name,
		"replace":               "echo x > " + filepath.Dir(name) + "/mine && mv -f " + filepath.Dir(name) + "/mine " + name,
		"remove":                "rm -f " + name,
		"rename":                "mv " + name + " " + name + "x",
		"link and read":         "ln " + name + " " + filepath.Dir(name) + "/link && cat " + filepath.Dir(name) + "/link",
		"change its mode":       "chmod 644 " + name,
		"remove the directory":  "rm -rf " + filepath.Dir(name) + "; test ! -e " + name,
		"change that one":       "chmod 777 " + filepath.Dir(name),
		"read the queue":        "ls " + m.dir + "/state/queue",
		"read what is rejected": "ls " + m.dir + "/state/rejected",
		"replace the socket":    "rm -f " + m.dir + "/run/submit && touch " + m.dir + "/run/submit",
		"make a state":          "mkdir " + m.dir + "/state/other",
	} {
		t.Run(what, func(t *testing.T) {
			if out, err := m.as(bob, script); err == nil {
				t.Errorf("another user can: %s", out)
			}
		})
	}
	if after, err := os.ReadFile(name); err != nil || string(after) != string(before) {
		t.Errorf("the message has become %q, %v", after, err)
	}
	if out, err := m.as(alice, "cat "+name); err != nil {
		t.Errorf("its owner cannot read it: %s", out)
	}
	m.start()
	if got, content := m.arrives(1); got.From != "uid61001@host.example" || !strings.Contains(content, "Subject: secret") {
		t.Errorf("what arrives is from %q: %q", got.From, content)
	}
}

// TestMaildropWithWhatIsNoMail: what a user puts there does not keep the mail of others, and
// leads to no file that is not in it.
func TestMaildropWithWhatIsNoMail(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.setUp()
	drop := m.dir + "/state/maildrop"
	secret := m.dir + "/state/secret" // the runner's
	envelope := `{"key":"K","from":"a@example.com","recipients":[{"address":"thief@example.com"}]}`
	if err := os.WriteFile(secret, []byte(envelope+"\nSubject: secret\n\nsecret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(secret, runnerID, runnerID); err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{
		"ln -s " + secret + " " + drop + "/link", "mkfifo -m 666 " + drop + "/pipe", "mkdir " + drop + "/directory", "mkdir " + drop + "/full && touch " + drop + "/full/file",
		"printf 'no envelope' > " + drop + "/text && chmod 644 " + drop + "/text", "printf '{}\n' > " + drop + "/empty && chmod 644 " + drop + "/empty",
		"printf '' > " + drop + "/nothing && chmod 644 " + drop + "/nothing",
		"printf 'x' > " + drop + "/unreadable && chmod 000 " + drop + "/unreadable", "truncate -s 100M " + drop + "/large && chmod 644 " + drop + "/large",
		`printf '%s\n' '{"key":"a b","recipients":[{"address":"b@example.com"}]}' > ` + drop + "/key && chmod 644 " + drop + "/key",
		`printf '%s\n\n' '{"key":"K","recipients":[{"address":"a@@b"}]}' > ` + drop + "/address && chmod 644 " + drop + "/address",
		"printf 'half' > " + drop + "/" + unfinished + "x && chmod 644 " + drop + "/" + unfinished + "x",
	} {
		if out, err := m.as(bob, script); err != nil {
			t.Fatalf("%s: %s", script, out)
		}
	}
	m.send(alice, "To: b@example.com\n\nx\n", "-t")
	r := m.start()
	got, _ := m.arrives(1)
	if got.From != "uid61001@host.example" {
		t.Errorf("from %q", got.From)
	}
	want := []string{unfinished + "x", "directory", "full"}
	eventually(t, "the maildrop has but what is being written and what cannot be moved", func() bool { return slices.Equal(m.files("maildrop"), want) })
	if names := m.files("rejected"); len(names) != 9 {
		t.Errorf("rejected: %q", names)
	}
	m.send(root, "", "-q")
	r.end()
	if n := strings.Count(r.said(), `"directory" is rejected`); n != 1 {
		t.Errorf("of the directory it speaks %d times", n)
	}
	if n := len(m.mail.Messages()); n != 1 {
		t.Errorf("%d messages have arrived, want 1", n)
	}
}

// TestRunnerRefusesAMaildropThatAllCanRead: it does not work with a directory that is not as
// it has to be.
func TestRunnerRefusesAMaildropThatAllCanRead(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.setUp()
	if err := os.Chmod(m.dir+"/state/maildrop", 0o777); err != nil {
		t.Fatal(err)
	}
	if out, code := m.call(runnerID, "", "-bd"); code != 78 || !strings.Contains(out, "chmod 3733") {
		t.Errorf("exit code %d, %s", code, out)
	}
}

// TestOneMessageByBothWays: a message that the runner may have taken before it died goes into
// the maildrop, too, and is one.
func TestOneMessageByBothWays(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.setUp()
	m.send(alice, "To: b@example.com\n\nx\n", "-t")
	name := filepath.Join(m.dir, "state/maildrop", m.files("maildrop")[0])
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	m.start()
	m.arrives(1)
	eventually(t, "the maildrop is empty", func() bool { return len(m.files("maildrop")) == 0 })
	again := func(uid int) {
		t.Helper()
		if err := os.WriteFile(name, text, 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(name, uid, runnerID); err != nil {
			t.Fatal(err)
		}
		m.send(root, "", "-q")
		eventually(t, "the maildrop is empty again", func() bool { return len(m.files("maildrop")) == 0 })
	}
	again(alice)
	again(bob) // of another user it is another message
	if got, _ := m.arrives(2); got.From != "nobody@host.example" {
		t.Errorf("from %q", got.From)
	}
	if n := len(m.mail.Messages()); n != 2 {
		t.Errorf("%d messages have arrived, want 2", n)
	}
}
