package main

import (
	"bytes"
	"encoding/base64"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// passwdCommand is relay passwd with a password on standard input.
func passwdCommand(t *testing.T, password string, words ...string) (out string, code int) {
	t.Helper()
	c := command(append([]string{"passwd"}, words...)...)
	c.Stdin = strings.NewReader(password)
	b, _ := c.CombinedOutput()
	return string(b), c.ProcessState.ExitCode()
}

func TestPasswd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "logins")
	for _, c := range []struct {
		name, password string
		words          []string
		code           int
		says           string
	}{
		{"a user", "geheim\n", []string{"-logins", file, "u@example.org"}, 0, "u@example.org can log in"},
		{"without a line end", "geheim", []string{"-logins", file, "-iterations", "4096", "u", "@example.org", "b@example.com"}, 0, "u can log in"},
		{"the same once more", "other\r\n", []string{"-logins", file, "u", "*"}, 0, "u can log in"},
		{"no file", "geheim\n", []string{"u@example.org"}, 64, "-logins is missing"},
		{"nobody", "geheim\n", []string{"-logins", file}, 64, "a user is missing"},
		{"no password", "\n", []string{"-logins", file, "u@example.org"}, 65, "the password is empty"},
		{"no address", "geheim\n", []string{"-logins", file, "v"}, 65, "the user v needs a list of sender addresses, because the name is not an address"},
		{"an address that is none", "geheim\n", []string{"-logins", file, "v", "example.org"}, 65, `"example.org"`},
		{"few iterations", "geheim\n", []string{"-logins", file, "-iterations", "1", "u"}, 64, "4096"},
		{"nobody to delete", "", []string{"-logins", file, "-delete", "w"}, 65, "no user w"},
		{"no such folder", "geheim\n", []string{"-logins", file + "/x", "u@example.org"}, 78, "not a directory"},
		{"help", "", []string{"-help"}, 0, "usage: relay passwd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, code := passwdCommand(t, c.password, c.words...)
			if code != c.code || !strings.Contains(out, c.says) || strings.Contains(out, "geheim") {
				t.Errorf("exit code %d, %q; want %d, %q", code, out, c.code, c.says)
			}
		})
	}
	text, err := os.ReadFile(file)
	lines := strings.Split(string(text), "\n")
	if err != nil || len(lines) != 3 || !strings.HasPrefix(lines[0], "u@example.org SCRAM-SHA-256$65536:") || !strings.HasSuffix(lines[1], "= *") {
		t.Errorf("the file has %q (%v)", text, err)
	}
	if out, code := passwdCommand(t, "", "-logins", file, "-delete", "u"); code != 0 {
		t.Errorf("deleted: %d, %s", code, out)
	}
	if text, _ := os.ReadFile(file); bytes.Contains(text, []byte("\nu ")) {
		t.Errorf("the file has %q", text)
	}
}

// TestUsers: who logs in sends to anybody, from his own addresses, for as long as he is in
// the file.
func TestUsers(t *testing.T) {
	w := newWorld(t, zone)
	mail := modern("mail.example.com")
	w.start("127.0.0.2", mail)
	file := filepath.Join(t.TempDir(), "logins")
	if out, code := passwdCommand(t, "geheim\n", "-logins", file, "-iterations", "4096", "alice", "alice@example.org", "@example.net"); code != 0 {
		t.Fatal(out)
	}
	cert, key, config := keyFiles(t)
	p := w.relay("-queue", inMemory, "-trust", "192.0.2.1", "-cert", cert, "-key", key, "-listen-tls", "127.0.0.1:0", "-logins", file)
	dial := func() *smtp.Client {
		c, err := smtp.Dial(p.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.StartTLS(config); err != nil {
			t.Fatal(err)
		}
		return c
	}
	from := func(c *smtp.Client, from string) string {
		if err := c.Mail(from); err != nil {
			return strings.ReplaceAll(err.Error(), `"`, "")
		}
		err := c.Rcpt("b@example.com")
		if err == nil {
			wc, err := c.Data()
			if err != nil {
				t.Fatal(err)
			}
			_, _ = wc.Write([]byte("Subject: from " + from + "\r\n\r\n"))
			if err := wc.Close(); err != nil {
				t.Fatal(err)
			}
			return ""
		}
		_ = c.Reset()
		return strings.ReplaceAll(err.Error(), `"`, "")
	}
	c := dial()
	if got := from(c, "alice@example.org"); !strings.HasPrefix(got, "550 5.7.1") {
		t.Errorf("without a login: %q", got)
	}
	if err := c.Auth(smtp.PlainAuth("", "alice", "geheim", "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{"alice@example.org": "", "anybody@example.net": "", "": "", "bob@example.org": "553 5.7.1", "alice@example.com": "553 5.7.1"} {
		if got := from(c, address); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("from <%s>: %q, want %q", address, got, want)
		}
	}
	eventually(t, "three messages arrive", func() bool { return len(mail.Messages()) == 3 })

	text, _ := os.ReadFile(file)
	replace(t, file, "nonsense\n")
	eventually(t, "the relay says what is wrong", func() bool {
		return strings.Contains(p.errs.String(), "-logins: those who may log in stay so: "+file+": line 1")
	})
	if got := from(c, "alice@example.org"); got != "" {
		t.Errorf("after the file has become wrong: %q", got)
	}
	replace(t, file, strings.ReplaceAll(string(text), "alice", "bob"))
	eventually(t, "bob can log in", func() bool {
		return dial().Auth(smtp.PlainAuth("", "bob", "geheim", "127.0.0.1")) == nil
	})
	if got := from(c, "alice@example.org"); !strings.HasPrefix(got, "530 5.7.0") {
		t.Errorf("alice is still logged in, and is no more: %q", got)
	}
	p.stop()
}

// TestLoginsNeedTLS: there is no way to have passwords sent in clear.
func TestLoginsNeedTLS(t *testing.T) {
	file := filepath.Join(t.TempDir(), "logins")
	if out, code := passwdCommand(t, "geheim\n", "-logins", file, "alice@example.org"); code != 0 {
		t.Fatal(out)
	}
	for _, flag := range []string{"-logins", "-listen-tls"} {
		c := command("-queue", inMemory, "-listen", "127.0.0.1:0", flag, file)
		if out, _ := c.CombinedOutput(); c.ProcessState.ExitCode() != 64 {
			t.Errorf("%s without -cert: exit code %d, %s", flag, c.ProcessState.ExitCode(), out)
		}
	}
	w := newWorld(t, zone)
	cert, key, _ := keyFiles(t)
	c := command("-queue", inMemory, "-listen", "127.0.0.1:0", "-cert", cert, "-key", key, "-logins", cert)
	if out, _ := c.CombinedOutput(); c.ProcessState.ExitCode() != 78 || !bytes.Contains(out, []byte("line 1")) {
		t.Errorf("a file of no users: exit code %d, %s", c.ProcessState.ExitCode(), out)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	p := w.relay("-queue", inMemory, "-cert", cert, "-key", key, "-logins", file)
	if !strings.Contains(p.errs.String(), "everybody on this machine can read it") {
		t.Errorf("of a file that all can read it says %q", p.errs.String())
	}
	s, err := smtp.Dial(p.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if offered, what := s.Extension("AUTH"); offered {
		t.Errorf("in clear it offers AUTH %s", what)
	}
	id, err := s.Text.Cmd("AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00alice@example.org\x00geheim")))
	if err != nil {
		t.Fatal(err)
	}
	s.Text.StartResponse(id)
	defer s.Text.EndResponse(id)
	if code, text, _ := s.Text.ReadResponse(235); code != 538 {
		t.Errorf("in clear a login is answered %d %s", code, text)
	}
}
