package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// cronMail is what Debian's cron writes.
const cronMail = `From: root (Cron Daemon)
To: root
Subject: Cron <root@host> test -x /usr/sbin/anacron
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit
X-Cron-Env: <SHELL=/bin/sh>

run-parts: failed
.
not the end
`

// TestCron: the call that cron makes is taken, and goes where the aliases say.
func TestCron(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "alias = root=Ops <ops@example.com>,audit@example.com", "alias = *=postmaster@example.com", "rewrite = @host.example=@example.com")
	r := m.start()
	m.send(root, cronMail, "-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root")
	got, content := m.arrives(1)
	if got.From != "root@example.com" || !slices.Equal(got.To(), []string{"ops@example.com", "audit@example.com"}) {
		t.Errorf("from %q to %q", got.From, got.To())
	}
	for _, want := range []string{
		"From: root@example.com (Cron Daemon)\r\nTo: root@host.example\r\nSubject: Cron <root@host> test", "\r\n\r\nrun-parts: failed\r\n.\r\nnot the end\r\n",
		"\r\nMessage-ID: <", "@host.example>\r\n",
	} {
		if !strings.Contains(content, want) {
			t.Errorf("%q is not in %q", want, content)
		}
	}
	if !regexp.MustCompile(`^Received: by host\.example \(nexthop, from userid 0\) id [A-Z0-9]+;\r\n\t`).MatchString(content) {
		t.Errorf("the message begins %.200q", content)
	}
	m.send(alice, "Subject: by a user\n\nx\n", "www-data")
	if got, content := m.arrives(2); got.From != "uid61001@example.com" || got.To()[0] != "postmaster@example.com" ||
		!strings.Contains(content, "from userid 61001)") || !strings.Contains(content, "\r\nFrom: uid61001@example.com\r\nDate: ") {
		t.Errorf("from %q to %q, %q", got.From, got.To(), content)
	}
	r.end()
	m.mail.Check(t)
}

// TestPHP: the calls that PHP's mail() makes, with the line ends that it has.
func TestPHP(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	m.send(bob, "To: u@example.com\r\nSubject: from PHP\r\nFrom: Shop <shop@example.com>\r\nBcc: v@example.com\r\nX-PHP-Originating-Script: 33:a.php\r\n\r\nline one\nline two\n", "-t", "-i", "-fbounces@example.com")
	got, content := m.arrives(1)
	if got.From != "bounces@example.com" || !slices.Equal(got.To(), []string{"u@example.com", "v@example.com"}) {
		t.Errorf("from %q to %q", got.From, got.To())
	}
	if strings.Contains(content, "Bcc") || strings.Contains(content, "v@example.com") || !strings.HasSuffix(content, "\r\n\r\nline one\r\nline two\r\n") ||
		!strings.Contains(content, "\r\nFrom: Shop <shop@example.com>\r\n") || strings.Contains(strings.ReplaceAll(content, "\r\n", ""), "\n") {
		t.Errorf("%q", content)
	}
}

func TestCommandLines(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.start()
	n := 0
	for name, c := range map[string]struct {
		args    []string
		message string
		from    string
		to      []string
		ends    string
	}{
		"-ti in one word":             {[]string{"-ti", "-f", "a@example.com"}, "To: b@example.com\n\nx\n.\ny\n", "a@example.com", []string{"b@example.com"}, "x\r\n.\r\ny\r\n"},
		"-oi":                         {[]string{"-oi", "-odb", "-oem", "-fa@example.com", "b@example.com"}, "\nx\n.\ny\n", "a@example.com", []string{"b@example.com"}, "x\r\n.\r\ny\r\n"},
		"a dot ends it":               {[]string{"-f", "a@example.com", "b@example.com"}, "\nx\n.\ny\n", "a@example.com", []string{"b@example.com"}, "x\r\n"},
		"a dot is doubled on the way": {[]string{"-i", "-f", "a@example.com", "b@example.com"}, "\n.x\n..\n", "a@example.com", []string{"b@example.com"}, ".x\r\n..\r\n"},
		"options behind recipients":   {[]string{"b@example.com", "-f", "a@example.com", "-i", "c@example.com"}, "\nx\n.\n", "a@example.com", []string{"b@example.com", "c@example.com"}, "x\r\n.\r\n"},
		"recipients behind --":        {[]string{"-f", "a@example.com", "--", "-b@example.com"}, "\nx\n", "a@example.com", []string{"-b@example.com"}, "x\r\n"},
		"a list in one word":          {[]string{"-f", "a@example.com", "b@example.com, C <c@example.com>"}, "\nx\n", "a@example.com", []string{"b@example.com", "c@example.com"}, "x\r\n"},
		"the null sender":             {[]string{"-f", "<>", "b@example.com"}, "\nx\n", "", []string{"b@example.com"}, "x\r\n"},
		"the null sender, empty":      {[]string{"-f", "", "b@example.com"}, "\nx\n", "", []string{"b@example.com"}, "x\r\n"},
		"a sender in brackets":        {[]string{"-r", "<a@example.com>", "b@example.com"}, "\nx\n", "a@example.com", []string{"b@example.com"}, "x\r\n"},
		"-t adds to those named":      {[]string{"-t", "-f", "a@example.com", "c@example.com"}, "To: b@example.com\n\nx\n", "a@example.com", []string{"c@example.com", "b@example.com"}, "x\r\n"},
		"old options":                 {[]string{"-G", "-v", "-O", "DeliveryMode=b", "-L", "tag", "-h", "3", "-bm", "-f", "a@example.com", "b@example.com"}, "\nx\n", "a@example.com", []string{"b@example.com"}, "x\r\n"},
		"no header at all":            {[]string{"-f", "a@example.com", "b@example.com"}, "just text\n", "a@example.com", []string{"b@example.com"}, "\r\n\r\njust text\r\n"},
		"an empty message":            {[]string{"-f", "a@example.com", "b@example.com"}, "", "a@example.com", []string{"b@example.com"}, "\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			m.t = t
			m.send(alice, c.message, c.args...)
			n++
			got, content := m.arrives(n)
			if got.From != c.from || !slices.Equal(got.To(), c.to) || !strings.HasSuffix(content, c.ends) {
				t.Errorf("from %q to %q: %q; want from %q to %q: %q", got.From, got.To(), content, c.from, c.to, c.ends)
			}
		})
	}
	m.t = t
	t.Run("DSN parameters", func(t *testing.T) {
		m.send(alice, "\nx\n", "-N", "success,failure", "-R", "hdrs", "-V", "id 1", "-f", "a@example.com", "b@example.com")
		got, _ := m.arrives(n + 1)
		if !slices.Contains(got.Params, "RET=HDRS") || !slices.Contains(got.Params, "ENVID=id+201") || !slices.Contains(got.Recipients[0].Params, "NOTIFY=SUCCESS,FAILURE") {
			t.Errorf("MAIL has %q, RCPT %q", got.Params, got.Recipients[0].Params)
		}
	})
	t.Run("the full name", func(t *testing.T) {
		m.send(alice, "Subject: s\n\nx\n", "-F", "J\u00f6rg, of us", "-f", "a@example.com", "b@example.com")
		if _, content := m.arrives(n + 2); !strings.Contains(content, "\r\nFrom: =?utf-8?b?SsO2cmcsIG9mIHVz?= <a@example.com>\r\n") {
			t.Errorf("%q", content)
		}
	})
	m.mail.Check(t)
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "quota-messages = 1000")
	for name, c := range map[string]struct {
		args    []string
		message string
		code    int
		says    string
	}{
		"no recipients":             {nil, "", 64, "no recipients"},
		"no recipients in a header": {[]string{"-t"}, "Subject: s\n\nx\n", 65, "no recipients"},
		"no list of addresses":      {[]string{"-t"}, "To: a b\n\nx\n", 65, "not a list of addresses"},
		"no address":                {[]string{"a..@@b"}, "\nx\n", 65, "a..@@b"},
		"an unknown option":         {[]string{"-Z", "a@example.com"}, "", 64, "what is -Z?"},
		"an unknown mode":           {[]string{"-bz"}, "", 64, "what is -bz?"},
		"a value that is missing":   {[]string{"-f"}, "", 64, "-f needs a value"},
		"a bad value":               {[]string{"-N", "often", "a@example.com"}, "", 64, "-N"},
		"no such configuration":     {[]string{"-C", "/nowhere", "a@example.com"}, "", 78, "/nowhere"},
		"no runner, no maildrop":    {[]string{"a@example.com"}, "\nx\n", 75, "the maildrop cannot be used"},
		"no runner to ask":          {[]string{"-bp"}, "", 69, "does not run"},
		"newaliases":                {[]string{"-bi"}, "", 0, ""},
		"the version":               {[]string{"--version"}, "", 0, "sendmail of nexthop"},
		"the version with one dash": {[]string{"-version"}, "", 0, "sendmail of nexthop"},
	} {
		t.Run(name, func(t *testing.T) {
			out, code := m.call(alice, c.message, c.args...)
			if code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("exit code %d, %q; want %d, %q", code, out, c.code, c.says)
			}
		})
	}
	for name, line := range map[string]string{
		"an unknown setting": "colour = red", "no value": "domain", "a value that is none": "quota-messages = secret",
		"an alias": "alias = root", "a rewriting": "rewrite = root=secret", "delays": "retry = often", "nothing": "expire = 0",
	} {
		t.Run(name, func(t *testing.T) {
			file := m.dir + "/bad.conf"
			if err := os.WriteFile(file, []byte(line+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, code := m.call(alice, "\nx\n", "-C", file, "a@example.com"); code != 78 || strings.Contains(out, "messages = secret") {
				t.Errorf("exit code %d, %q", code, out)
			}
		})
	}
	t.Run("a setting of the environment", func(t *testing.T) {
		c := m.command(alice, "sendmail", "a@example.com")
		c.Env = append(c.Env, prefix+"COLOUR=red")
		if out, _ := c.CombinedOutput(); c.ProcessState.ExitCode() != 78 || !strings.Contains(string(out), prefix+"COLOUR") {
			t.Errorf("exit code %d, %s", c.ProcessState.ExitCode(), out)
		}
	})
}
