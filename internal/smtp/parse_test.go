package smtp

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestParseLine is reply lines taken apart, and what is none.
func TestParseLine(t *testing.T) {
	for _, c := range []struct {
		line string
		code int
		last bool
		text string
		bad  protocolError
	}{
		{"250", 250, true, "", ""},
		{"250 ", 250, true, "", ""},
		{"250-", 250, false, "", ""},
		{"250 ok", 250, true, "ok", ""},
		{"250-ok", 250, false, "ok", ""},
		{"200 x", 200, true, "x", ""},
		{"599 x", 599, true, "x", ""},
		{"199 x", 0, false, "", errCodeRange},
		{"600 x", 0, false, "", errCodeRange},
		{"", 0, false, "", errNoCode},
		{"25", 0, false, "", errNoCode},
		{"2:0 x", 0, false, "", errNoCode},
		{"25: x", 0, false, "", errNoCode},
		{"/50 x", 0, false, "", errNoCode},
		{"2/0 x", 0, false, "", errNoCode},
		{"25/ x", 0, false, "", errNoCode},
		{"1:50", 0, false, "", errNoCode}, // 250, if a colon were ten
		{"250x", 0, false, "", errNoCode},
		{"2500", 0, false, "", errNoCode},
	} {
		code, last, text, bad := parseLine([]byte(c.line))
		if code != c.code || last != c.last || string(text) != c.text || bad != c.bad {
			t.Errorf("%q: %d, last %t, %q, %q; want %d, %t, %q, %q", c.line, code, last, text, bad, c.code, c.last, c.text, c.bad)
		}
	}
}

// TestEnhancedCode is the status codes that a text begins with.
func TestEnhancedCode(t *testing.T) {
	for text, want := range map[string]string{
		"5.1.1":           "5.1.1",
		"5.1.1 no":        "5.1.1",
		"5.123.456 no":    "5.123.456",
		"5.1234.1 no":     "",
		"5.1.1234 no":     "",
		"5.1.1no":         "",
		"5.1.1. no":       "",
		"5.1. no":         "",
		"5..1 no":         "",
		"5.1 no way":      "",
		"5.123":           "",
		"5.12":            "",
		"5.1.":            "",
		"5-1.1 no":        "",
		"5.1-1 no":        "",
		"4.1.1 no":        "",
		"5":               "",
		"":                "",
		"5.7.10 policy":   "5.7.10",
		"5.1.x no reason": "",
	} {
		if n := enhancedCode(550, []byte(text)); text[:n] != want {
			t.Errorf("%q: %q, want %q", text, text[:n], want)
		}
	}
}

// TestEscaped is what a text is shown as.
func TestEscaped(t *testing.T) {
	for _, c := range []struct{ text, want, utf8 string }{
		{"plain ~", "plain ~", "plain ~"},
		{"\x1f\x7f\t\r\n", `\x1F\x7F\x09\x0D\x0A`, `\x1F\x7F\x09\x0D\x0A`},
		{"é", `\xC3\xA9`, "é"},
		{"\x80", `\x80`, `\x80`},
		{"\xff", `\xFF`, `\xFF`},
		{"\u0085", `\xC2\x85`, `\xC2\x85`},
		{"\u009f", `\xC2\x9F`, `\xC2\x9F`},
		{"\u00a0", `\xC2\xA0`, "\u00a0"},
		{"\u2027", `\xE2\x80\xA7`, "\u2027"},
		{"\u2028", `\xE2\x80\xA8`, `\xE2\x80\xA8`},
		{"\u2029", `\xE2\x80\xA9`, `\xE2\x80\xA9`},
		{"\u202a", `\xE2\x80\xAA`, `\xE2\x80\xAA`},
		{"\u202e", `\xE2\x80\xAE`, `\xE2\x80\xAE`},
		{"\u202f", `\xE2\x80\xAF`, "\u202f"},
		{"\u2065", `\xE2\x81\xA5`, "\u2065"},
		{"\u2066", `\xE2\x81\xA6`, `\xE2\x81\xA6`},
		{"\u2069", `\xE2\x81\xA9`, `\xE2\x81\xA9`},
		{"\u206a", `\xE2\x81\xAA`, "\u206a"},
		{"\ufeff", `\xEF\xBB\xBF`, `\xEF\xBB\xBF`},
		{"\ufffd", `\xEF\xBF\xBD`, "\ufffd"},
	} {
		if got := string(appendEscaped(nil, []byte(c.text), false)); got != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
		if got := string(appendEscaped([]byte("x"), []byte(c.text), true)); got != "x"+c.utf8 {
			t.Errorf("%q with UTF-8: %s, want x%s", c.text, got, c.utf8)
		}
	}
}

// TestSecretsHidden is what is shown of lines that repeat a secret.
func TestSecretsHidden(t *testing.T) {
	var l secrets
	l.keep("", "=", "swordfish-and-more")
	if !slices.Equal(l, secrets{"swordfish-and-more"}) {
		t.Fatalf("kept %q", l)
	}
	for line, want := range map[string]string{
		"250 ok":                             "250 ok",
		"250 swordfish-and-more":             "250 " + withheld,
		"250-swordfish-and-more":             "250-" + withheld,
		"535 user said: swordfish-and-more!": "535 " + withheld,
		"535 swordfis":                       "535 " + withheld,
		"535 swordfi":                        "535 swordfi",
		"535 x and-more":                     "535 " + withheld,
		"swordfish-and-more":                 withheld,
		"2:0 swordfish-and-more":             withheld,
		"250swordfish-and-more":              withheld,
		"a = b":                              "a = b",
	} {
		if got := string(l.hide([]byte(line))); got != want {
			t.Errorf("%q is shown as %q, want %q", line, got, want)
		}
	}
	short := secrets{"250"}
	if got := string(short.hide([]byte("250"))); got != withheld {
		t.Errorf("a line that is a secret is shown as %q", got)
	}
	for text, want := range map[string]string{"": "", "=": "=", "AGE=": veiled, "x": veiled} {
		if got := veil(text); got != want {
			t.Errorf("a response %q is shown as %q, want %q", text, got, want)
		}
	}
	for line, want := range map[string]string{"334": "334", "334 ": "334 ", "334 x": "334 " + challenge, "334-x": "334-" + challenge} {
		if got := string(asked([]byte(line))); got != want {
			t.Errorf("a challenge %q is shown as %q, want %q", line, got, want)
		}
	}
}

// TestErrorText is how an Error reads.
func TestErrorText(t *testing.T) {
	reply := Reply{Code: 550, Text: "no\nnever"}
	for _, c := range []struct {
		err  Error
		want string
	}{
		{Error{Stage: StageMail, Kind: Replied, Reply: reply}, "smtp: mail: 550 no / never"},
		{Error{Stage: StageFinal, Kind: Incapable, Reply: reply}, "smtp: final: 550 no / never: offered and does not work"},
		{Error{Stage: StageData, Kind: Canceled}, "smtp: data: canceled"},
		{Error{Stage: StageBanner, Kind: Timeout, Err: errors.New("late")}, "smtp: banner: timeout: late"},
		{Error{Stage: Stage(200), Kind: Kind(200)}, "smtp: unknown: unknown"},
		{Error{Stage: StageQuit, Kind: BadAuth}, "smtp: quit: AUTH does not work"},
		{Error{Kind: BadTLS, Err: errors.New(strings.Repeat("x", 512))}, "smtp: idle: TLS failure: " + strings.Repeat("x", 512)},
		{Error{Kind: BadTLS, Err: errors.New(strings.Repeat("x", 513))}, "smtp: idle: TLS failure: " + strings.Repeat("x", 512) + "... (513 octets)"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	for got, want := range map[string]string{
		Kind(len(kindNames)).String(): "unknown", Stage(len(stageNames)).String(): "unknown", State(len(stateNames)).String(): "?",
		Replied.String(): "refused", Delivered.String(): "delivered", Unknown.String(): "unknown", StageIdle.String(): "idle",
		Option(0).String(): "", (OptSize | OptTLS).String(): "STARTTLS, SIZE",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if none := new(Reply); none.Lines() != nil || none.String() != "0" || len(reply.Lines()) != 2 {
		t.Errorf("no reply has the lines %q and the text %q, one with two lines has %q", none.Lines(), none.String(), reply.Lines())
	}
}

// TestStuffing is where content needs a dot more, in every cut into two parts, and
// where it is refused.
func TestStuffing(t *testing.T) {
	for _, c := range []struct {
		content, want string
		bad           bool
	}{
		{"", ".\r\n", false},
		{"a\r\n", "a\r\n.\r\n", false},
		{"a", "a\r\n.\r\n", false},
		{".\r\n", "..\r\n.\r\n", false},
		{"..\r\n.\r\n", "...\r\n..\r\n.\r\n", false},
		{"a.\r\n.b\r\n", "a.\r\n..b\r\n.\r\n", false},
		{"\r\n.\r\n", "\r\n..\r\n.\r\n", false},
		{"\r\n\r\na", "\r\n\r\na\r\n.\r\n", false},
		{"a\n", "", true},
		{"\n", "", true},
		{"\r", "", true},
		{"a\r", "", true},
		{"a\rb\r\n", "", true},
		{"a\r\r\n", "", true},
		{"a\r\n\n", "", true},
		{"a\r\n\r", "", true},
		{"a\nb\r\n", "", true},
	} {
		for cut := range len(c.content) + 1 {
			var d stuffer
			var out bytes.Buffer
			var err error
			for _, src := range []string{c.content[:cut], c.content[cut:]} {
				for src != "" && err == nil {
					var n int
					var dot bool
					n, dot, err = d.next([]byte(src))
					out.WriteString(src[:n])
					if src = src[n:]; dot {
						out.WriteByte('.')
					}
					if src != "" && n == 0 && !dot && err == nil {
						t.Fatalf("%q stands still", c.content)
					}
				}
			}
			if err == nil {
				var end string
				end, err = d.end()
				out.WriteString(end)
			}
			if c.bad != (err != nil) || !c.bad && out.String() != c.want {
				t.Errorf("%q in two at %d: %q (%v), want %q", c.content, cut, out.String(), err, c.want)
			}
		}
	}
}

// TestLimitSyntax is which parameters of LIMITS make sense as a whole.
func TestLimitSyntax(t *testing.T) {
	for params, want := range map[string]int{
		"": 0, "RCPTMAX=5": 5, "RCPTMAX=5 X": 5, "RCPTMAX=5 X-1_a=~!": 5, "1X=1 RCPTMAX=5": 5, "RCPTMAX=5 X-": 5,
		"RCPTMAX=5 -X": 0, "RCPTMAX=5 _X": 0, "RCPTMAX=5 X.Y": 0, "RCPTMAX=5 X/": 0, "RCPTMAX=5 X=": 0, "RCPTMAX=5 X=a;b": 0,
		"RCPTMAX=5 X=\x7f": 0, "RCPTMAX=5 X=a\tb": 0, "RCPTMAX=5 ": 0, " RCPTMAX=5": 0, "RCPTMAX=5 RCPTMAX=5": 0,
	} {
		if got := parseLimits(params).RcptMax; got != want {
			t.Errorf("%q: RCPTMAX is %d, want %d", params, got, want)
		}
	}
}

// TestSealed is which octets a command may have.
func TestSealed(t *testing.T) {
	for _, c := range []struct {
		line        string
		ascii, utf8 bool
	}{
		{"RSET", true, true}, {"X \x20~", true, true}, {"X \x1f", false, false}, {"X \x7f", false, false}, {"X \r\n", false, false},
		{"X é", false, true}, {"X \xc3", false, false}, {"X \x80", false, false},
	} {
		for allowed, want := range map[bool]bool{false: c.ascii, true: c.utf8} {
			got, err := seal([]byte("RSET\r\n"+c.line), 6, allowed)
			if text := "RSET\r\n" + c.line + "\r\n"; (err == nil) != want || want && string(got) != text || !want && string(got) != "RSET\r\n" {
				t.Errorf("%q with UTF-8 %t: %q (%v), want it taken: %t", c.line, allowed, got, err, want)
			}
		}
	}
}

// TestAddressEncodings is xtext (RFC 3461 section 4) and addresses of type utf-8
// (RFC 6533 section 3).
func TestAddressEncodings(t *testing.T) {
	for s, want := range map[string]string{"a@e.test": "a@e.test", "a+b=c d~\x7f": "a+2Bb+3Dc+20d~+7F", "!\x1f": "!+1F", "é": "+C3+A9"} {
		if got := string(appendXtext(nil, s)); got != want {
			t.Errorf("%q as xtext: %s, want %s", s, got, want)
		}
	}
	for _, c := range []struct{ s, want, raw string }{
		{"a~!@e.test", "a~!@e.test", "a~!@e.test"},
		{"é@e.test", `\x{E9}@e.test`, "é@e.test"},
		{"\u0080\u2028", `\x{80}\x{2028}`, "\u0080\u2028"},
		{"a +=\\\x7f\t", `a\x{20}\x{2B}\x{3D}\x{5C}\x{7F}\x{09}`, `a\x{20}\x{2B}\x{3D}\x{5C}\x{7F}\x{09}`},
	} {
		for raw, want := range map[bool]string{false: c.want, true: c.raw} {
			if got := string(appendUTF8Address(nil, c.s, raw)); got != want {
				t.Errorf("%q, raw %t: %s, want %s", c.s, raw, got, want)
			}
		}
	}
}
