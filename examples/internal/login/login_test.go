package login

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

// published is the verifier of the password "pencil" with the salt and the iterations of
// RFC 7677 section 3, as PostgreSQL has it.
const published = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

func TestVerifier(t *testing.T) {
	v, err := ParseVerifier(published)
	if err != nil || v.String() != published {
		t.Fatalf("%v, %v", v, err)
	}
	for password, want := range map[string]bool{
		"pencil": true, "Pencil": false, "pencil ": false, "": false, "pen\u00adcil": true, // SASLprep maps that to nothing
		"pen\u0007cil": false,
	} {
		if got := v.matches(password); got != want {
			t.Errorf("%q: %v, want %v", password, got, want)
		}
	}
	a, err := NewVerifier("geheim", 4096)
	b, _ := NewVerifier("geheim", 4096)
	if err != nil || a.String() == b.String() || !a.matches("geheim") || !b.matches("geheim") || a.matches("pencil") {
		t.Errorf("two verifiers of a password: %v, %v (%v)", a, b, err)
	}
	for _, password := range []string{"", "\u00ad", "a\u0000b", "\u0221"} {
		if v, err := NewVerifier(password, 4096); err == nil || v.Iterations != 0 {
			t.Errorf("%q has a verifier", password)
		}
	}
}

func TestVerifierThatMakesNoSense(t *testing.T) {
	for name, text := range map[string]string{
		"a password":          "pencil",
		"nothing":             "",
		"another scheme":      strings.Replace(published, "256", "1", 1),
		"few iterations":      strings.Replace(published, "4096", "4095", 1),
		"hours of iterations": strings.Replace(published, "4096", "99999999999", 1),
		"no iterations":       strings.Replace(published, "4096", "many", 1),
		"padding that is off": strings.Replace(published, "gQ==", "gQ", 1),
		"no salt":             strings.Replace(published, "W22ZaJ0SNY7soEsUEjb6gQ==", "", 1),
		"a short key":         strings.Replace(published, "WG5d", "", 1),
		"a long key":          strings.Replace(published, ":wfPL", ":AAAAwfPL", 1),
		"more behind it":      published + ":AAAA",
		"other separators":    strings.ReplaceAll(published, "$", ":"),
		"a separator twice":   strings.Replace(published, "$", "$$", 1),
	} {
		if v, err := ParseVerifier(text); err == nil || v.StoredKey != [32]byte{} && v.Iterations != 0 {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}

// write writes a file of users.
func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "logins")
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFileOfUsers(t *testing.T) {
	users, err := Read(write(t, "# comment\n\n  user "+published+" @example.com  b@example.net\nu@example.org "+published+"\nall "+published+" *\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, from string
		may        bool
	}{
		{"user", "a@example.com", true}, {"user", "A@EXAMPLE.COM", true}, {"user", "B@example.NET", true}, {"user", "", true},
		{"user", "a@sub.example.com", false}, {"user", "a@example.net", false}, {"user", "@example.com", false}, {"user", "a@notexample.com", false},
		{"user", `"x@example.com"@example.org`, false}, {"user", "user", false},
		{"u@example.org", "u@example.org", true}, {"u@example.org", "v@example.org", false},
		{"all", "anybody@anywhere.example", true},
	} {
		if got := users.Find(c.name).MaySendFrom(c.from); got != c.may {
			t.Errorf("%s may send from %q: %v, want %v", c.name, c.from, got, c.may)
		}
	}
	if users.Find("nobody") != nil {
		t.Error("nobody is somebody")
	}
	_, err = Read(write(t, "a "+published+" *\nb pencil\nc "+published+"\na "+published+" *\nd "+published+" example.com\ne\n\u2126 "+published+" *\n"))
	for _, want := range []string{"line 2: no verifier", "line 3: the user c needs a list", "line 4: a is there twice", `line 5: "example.com"`, "line 6: no verifier", "line 7: "} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pencil") {
			t.Errorf("the error is %v, want %q in it, and no password", err, want)
		}
	}
}

func TestFileIsEdited(t *testing.T) {
	file := filepath.Join(t.TempDir(), "logins")
	v, _ := ParseVerifier(published)
	for _, name := range []string{"a@example.com", "b@example.com", "c@example.com"} {
		if err := Write(file, &User{Name: name, Verifier: v}); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("the new file: %v, %v", info.Mode(), err)
	}
	text, _ := os.ReadFile(file)
	if err := os.WriteFile(file, append([]byte("# ours\n"), strings.TrimSuffix(string(text), "\n")...), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Write(file, &User{Name: "b@example.com", Verifier: v, Addresses: []string{"*"}}), Remove(file, "a@example.com")); err != nil {
		t.Fatal(err)
	}
	want := "# ours\nb@example.com " + published + " *\nc@example.com " + published + " c@example.com\n"
	if text, _ := os.ReadFile(file); string(text) != want {
		t.Errorf("the file has %q, want %q", text, want)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o640 {
		t.Errorf("the edited file: %v, %v", info.Mode(), err)
	}
	if err := Remove(file, "a@example.com"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
	if err := Remove(file+"2", "a@example.com"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed from no file: %v", err)
	}
	if err := Write(file, &User{Name: "two words", Verifier: v, Addresses: []string{"*"}}); err == nil {
		t.Error("a name with a blank was written")
	}
	if err := Write(filepath.Dir(file), &User{Name: "d@example.com", Verifier: v}); err == nil || !strings.HasPrefix(err.Error(), "read ") {
		t.Errorf("a file that cannot be read was written: %v", err)
	}
	if err := os.WriteFile(file+".new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(file, &User{Name: "d@example.com", Verifier: v}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("written while somebody else does: %v", err)
	}
	if text, _ := os.ReadFile(file); strings.Contains(string(text), "d@example.com") {
		t.Error("and it was written")
	}
}

// at once decides without delay.
func atOnce(_ string, decide func() bool) error { decide(); return nil }

// scramAs is a whole exchange with a client of the SCRAM library.
func (u *Users) scramAs(t *testing.T, user, password, authorize string) (*Exchange, []string, error) {
	t.Helper()
	return u.scramBy(t, user, password, authorize, atOnce)
}

func (u *Users) scramBy(t *testing.T, user, password, authorize string, attempt Attempt) (*Exchange, []string, error) {
	t.Helper()
	c, err := scram.SHA256.NewClient(user, password, authorize)
	if err != nil {
		t.Fatal(err)
	}
	client, e := c.NewConversation(), u.Begin("SCRAM-SHA-256", attempt)
	var challenges []string
	for said := ""; ; {
		answer, err := client.Step(said)
		if err != nil {
			t.Fatal(err)
		}
		challenge, err := e.Next([]byte(answer))
		if err != nil || e.User() != nil {
			return e, challenges, err
		}
		said = string(challenge)
		challenges = append(challenges, said)
	}
}

func TestNobodyLearnsWhichUsersThereAre(t *testing.T) {
	users, err := Read(write(t, "user "+published+" *\n"))
	if err != nil {
		t.Fatal(err)
	}
	shape := func(name, password, authorize string) (string, error) {
		e, challenges, err := users.scramAs(t, name, password, authorize)
		if err == nil {
			return e.User().Name, nil
		}
		_, rest, _ := strings.Cut(challenges[0], ",s=")
		salt, count, _ := strings.Cut(rest, ",")
		return strings.Repeat("s", len(salt)) + count, err
	}
	if name, err := shape("user", "pencil", ""); err != nil || name != "user" {
		t.Errorf("%v, %v", name, err)
	}
	if name, err := shape("user", "pencil", "user"); err != nil || name != "user" {
		t.Errorf("%v, %v", name, err)
	}
	wrong, err := shape("user", "pen", "")
	if !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	for _, c := range [][3]string{{"nobody", "pencil", ""}, {"nobody2", "pencil", ""}, {"user", "pencil", "root"}} {
		if got, err := shape(c[0], c[1], c[2]); !errors.Is(err, ErrRefused) || got != wrong {
			t.Errorf("%q: %v (%v), want what a wrong password has: %v", c, got, err, wrong)
		}
	}
	// Neither does the salt change, nor is it the same for all.
	salt := func(name string) string {
		_, challenges, _ := users.scramAs(t, name, "x", "")
		_, rest, _ := strings.Cut(challenges[0], ",s=")
		return rest
	}
	if first, again := salt("nobody"), salt("nobody"); first != again || first == salt("another") {
		t.Error("the salts of users who do not exist tell them")
	}
}

// TestWhoseAttemptItIs: it is known before the decision, by the name in the file.
func TestWhoseAttemptItIs(t *testing.T) {
	users, err := Read(write(t, "user "+published+" *\n"))
	if err != nil {
		t.Fatal(err)
	}
	for said, want := range map[string]string{"user": "user", "u\u00adser": "user", "nobody": ""} {
		var got []string
		attempt := func(user string, decide func() bool) error {
			got = append(got, user)
			decide()
			return nil
		}
		_, _ = users.Begin("PLAIN", attempt).Next([]byte("\x00" + said + "\x00pen"))
		_, _, _ = users.scramBy(t, said, "pen", "", attempt)
		if len(got) != 2 || got[0] != want || got[1] != want {
			t.Errorf("the attempts of %q by PLAIN and SCRAM are those of %q, want %q", said, got, want)
		}
	}
}

func TestPlain(t *testing.T) {
	users, err := Read(write(t, "user "+published+" *\n"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]error{
		"\x00user\x00pencil": nil, "user\x00user\x00pencil": nil,
		"root\x00user\x00pencil": ErrRefused, "\x00user\x00pen": ErrRefused, "\x00nobody\x00pencil": ErrRefused, "\x00nobody\x00\u0007": ErrRefused,
		"\x00\x00pencil": ErrMalformed, "\x00user\x00": ErrMalformed, "user\x00pencil": ErrMalformed, "": ErrMalformed,
		"\x00user\x00pencil\x00": ErrMalformed,
	} {
		e := users.Begin("PLAIN", atOnce)
		if _, err := e.Next([]byte(text)); !errors.Is(err, want) || (e.User() != nil) != (want == nil) {
			t.Errorf("%q: %v, %v, want %v", text, e.User(), err, want)
		}
	}
	if users.Begin("CRAM-MD5", atOnce) != nil || users.Begin("plain", atOnce) != nil {
		t.Error("there is a mechanism that is not there")
	}
	late := errors.New("late")
	e := users.Begin("PLAIN", func(string, func() bool) error { return late })
	if _, err := e.Next([]byte("\x00user\x00pencil")); !errors.Is(err, late) || e.User() != nil {
		t.Errorf("an attempt that was not heard: %v, %v", e.User(), err)
	}
}

// TestPlainByParts: LOGIN asks for the name and for the password in words that clients know,
// and does not tell whether there is such a user before it has both.
func TestPlainByParts(t *testing.T) {
	users, err := Read(write(t, "user "+published+" *\n"))
	if err != nil {
		t.Fatal(err)
	}
	for said, want := range map[[2]string]error{
		{"user", "pencil"}: nil, {"u\u00adser", "pencil"}: nil, {"user", "pen"}: ErrRefused, {"nobody", "pencil"}: ErrRefused,
		{"user\x00", "pencil"}: ErrRefused, {"user", "pencil\x00"}: ErrRefused, {"", "pencil"}: ErrMalformed, {"user", ""}: ErrMalformed,
	} {
		e := users.Begin("LOGIN", atOnce)
		if got := string(e.Opening()); got != "Username:" {
			t.Errorf("it begins with %q", got)
		}
		challenge, err := e.Next([]byte(said[0]))
		if err == nil {
			if string(challenge) != "Password:" || e.User() != nil {
				t.Errorf("%q: %q, %v", said, challenge, e.User())
			}
			challenge, err = e.Next([]byte(said[1]))
		}
		if !errors.Is(err, want) || (e.User() != nil) != (want == nil) || len(challenge) > 0 {
			t.Errorf("%q: %q, %v, %v, want %v", said, challenge, e.User(), err, want)
		}
	}
	if e := users.Begin("PLAIN", atOnce); len(e.Opening()) > 0 {
		t.Errorf("PLAIN begins with %q", e.Opening())
	}
}

func TestScramThatMakesNoSense(t *testing.T) {
	users, err := Read(write(t, "user "+published+" *\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, said := range map[string][]string{
		"nothing":               {""},
		"a binding":             {"p=tls-unique,,n=user,r=abc"},
		"no nonce":              {"n,,n=user"},
		"another nonce":         {"n,,n=user,r=abc", "c=biws,r=abcd,p=AAAA"},
		"no proof":              {"n,,n=user,r=abc", "c=biws,r=abc"},
		"nothing afterwards":    {"n,,n=user,r=abc", ""},
		"the same once more":    {"n,,n=user,r=abc", "n,,n=user,r=abc"},
		"a name not encoded":    {"n,,n=us=er,r=abc"},
		"a forbidden extension": {"n,,m=ext,n=user,r=abc"},
	} {
		e := users.Begin("SCRAM-SHA-256", atOnce)
		var err error
		for _, s := range said {
			_, err = e.Next([]byte(s))
		}
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrRefused) || e.User() != nil {
			t.Errorf("%s: %v, %v", name, e.User(), err)
		}
	}
}
