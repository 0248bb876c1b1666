package smtp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestOptionals is the table, as ARCHITECTURE.md has it.
func TestOptionals(t *testing.T) {
	resorts := [...]string{"keep", "same session", "new session", "next attempt"}
	rows := map[string][4]string{}
	for _, row := range optionals() {
		var list [4]string
		for form, r := range row.resort {
			list[form] = resorts[r]
		}
		rows[row.name] = list
	}
	same, fresh, next := resorts[SameSession], resorts[NewSession], resorts[NextAttempt]
	usual := [4]string{same, next, next, next}
	others := map[string][4]string{"STARTTLS": {same, same, fresh, fresh}, "CHUNKING": {fresh, next, next, next}, "modern key exchange": {resorts[Keep], resorts[Keep], resorts[Keep], fresh}}
	for name, got := range rows {
		w, ok := others[name]
		if !ok {
			w = usual
		}
		if got != w {
			t.Errorf("%s: %q, want %q", name, got, w)
		}
	}
	all := optionEnd - 1
	if names := strings.Split(all.String(), ", "); len(names) != len(rows) {
		t.Errorf("%d options have a name, of %d rows", len(names), len(rows))
	}
	if got := (OptSize | OptEHLO).String(); got != "EHLO, SIZE" || Option(0).String() != "" {
		t.Errorf("%q", got)
	}
	for _, name := range []string{"PLAIN", "CRAM-MD5", "SCRAM-SHA-256-PLUS", "EXTERNAL"} {
		if o := Mechanism(name); o.String() != name {
			t.Errorf("%s is %q", name, o)
		}
	}
	for _, name := range []string{"SIZE", "", "NTLM", "plain", "STARTTLS"} {
		if o := Mechanism(name); o != 0 {
			t.Errorf("%s is %q", name, o)
		}
	}
}

// TestDoubtOf is what a failure leads to, by its form.
func TestDoubtOf(t *testing.T) {
	used := OptTLS | OptSize
	for _, c := range []struct {
		err  Error
		want Doubt
		ok   bool
	}{
		{Error{Kind: Replied, Reply: Reply{Code: 500}}, Doubt{}, true},
		{Error{Kind: Replied, Reply: Reply{Code: 450}}, Doubt{Next: OptSize, Brief: OptSize}, true},
		{Error{Kind: Replied, Reply: Reply{Code: 421}}, Doubt{Now: OptTLS, Next: OptSize, Brief: used}, true},
		{Error{Kind: Closed}, Doubt{Now: OptTLS, Next: OptSize}, true},
		{Error{Kind: Timeout}, Doubt{Now: OptTLS, Next: OptSize}, true},
		{Error{Kind: Protocol}, Doubt{Now: OptTLS, Next: OptSize}, true},
		{Error{Kind: BadTLS}, Doubt{Now: OptTLS, Next: OptSize}, true},
		{Error{Kind: Security}, Doubt{}, false},
		{Error{Kind: Canceled}, Doubt{}, false},
		{Error{Kind: Local}, Doubt{}, false},
		{Error{Kind: Unfit}, Doubt{}, false},
		{Error{Kind: Exhausted}, Doubt{}, false},
	} {
		form, ok := c.err.form()
		if ok != c.ok {
			t.Errorf("%v: %t", &c.err, ok)
		}
		if ok && doubt(used, form) != c.want {
			t.Errorf("%v: %+v, want %+v", &c.err, doubt(used, form), c.want)
		}
	}
	if doubt(0, Defers) != (Doubt{}) {
		t.Error("a doubt about nothing")
	}
}

// TestBlames is which replies may be about the parameters of a command, or the group
// it came in.
func TestBlames(t *testing.T) {
	for _, c := range []struct{ reply, blames string }{ // m: at MAIL, r: at RCPT, g: the group
		{"250", ""}, {"354", ""}, {"421", ""}, {"421 4.5.4", ""},
		{"500", "mrg"}, {"501", "mr"}, {"502", "mrg"}, {"503", "mrg"}, {"504", "mr"}, {"555", "mr"}, {"455", "mrg"},
		{"550", "m"}, {"554", "m"}, {"450", "mg"}, {"451", "mg"}, {"571", "m"}, {"459", "mg"},
		{"432", "g"}, {"452", ""}, {"454", "g"}, {"521", ""}, {"525", ""}, {"530", ""}, {"534", ""}, {"535", ""}, {"538", ""},
		{"551", ""}, {"552", ""}, {"553", ""}, {"556", ""},
		{"550 5.1.1", ""}, {"500 5.1.1", ""}, {"550 5.2.2", ""}, {"500 5.2.0", ""}, {"550 5.7.1", ""}, {"500 5.7.1", ""},
		{"550 5.4.4", ""}, {"500 5.4.4", "g"}, {"500 5.6.0", "g"}, {"500 5.3.4", "g"}, {"500 5.3.2", "g"},
		{"550 5.3.3", "mr"}, {"550 5.3.0", "m"}, {"550 5.0.0", "m"}, {"500 5.0.0", "mrg"},
		{"550 5.5.1", "mrg"}, {"550 5.5.4", "mrg"}, {"550 5.5.3", ""}, {"452 4.5.3", ""}, {"450 4.5.0", "mrg"}, {"552 5.5.2", "mrg"},
		{"450 4.1.8", ""}, {"450 4.2.0", ""}, {"450 4.7.1", ""}, {"451 4.3.0", "mg"},
	} {
		r := Reply{}
		fmt.Sscanf(c.reply, "%d %s", &r.Code, &r.Enhanced)
		got := ""
		if r.blames(StageMail) {
			got += "m"
		}
		if r.blames(StageRcpt) {
			got += "r"
		}
		if r.Negative() && r.blamesGroup() {
			got += "g"
		}
		if got != c.blames {
			t.Errorf("%s blames %q, want %q", c.reply, got, c.blames)
		}
	}
}

// TestKeywords is what counts as a keyword, a size and a mechanism in a reply to
// EHLO.
func TestKeywords(t *testing.T) {
	for word, want := range map[string]bool{
		"SIZE": true, "a": true, "Z": true, "0": true, "z9-": true, strings.Repeat("x", 64): true,
		"": false, "-A": false, "A_B": false, "A.B": false, "A/": false, "{": false, "[": false, "@": false, "A:": false, "`": false,
		strings.Repeat("x", 65): false, "é": false,
	} {
		if isKeyword(word) != want {
			t.Errorf("%q is a keyword: %t", word, !want)
		}
	}
	for params, want := range map[string]int64{"1000": 1000, "0": 0, "1": 1, "": 0, "-1": 0, "x": 0, "9223372036854775807": 9223372036854775807, "9223372036854775808": 0, "10 20": 0} {
		if got := parseSize(params); got != want {
			t.Errorf("SIZE %s is %d, want %d", params, got, want)
		}
	}
	var many []string
	for i := range 50 {
		many = append(many, fmt.Sprintf("M%d", i))
	}
	if got := addMechanisms(nil, strings.Join(many, " ")); len(got) != maxMechanisms || got[maxMechanisms-1] != many[maxMechanisms-1] {
		t.Errorf("%d mechanisms", len(got))
	}
	if got := addMechanisms([]string{"PLAIN"}, strings.Repeat("X", 20)+" "+strings.Repeat("Y", 21)+" plain"); !slices.Equal(got, []string{"PLAIN", strings.Repeat("X", 20)}) {
		t.Errorf("%q", got)
	}
}

// TestUnbounded is a connection that knows no deadlines, with some.
func TestUnbounded(t *testing.T) {
	within := func(name string, f func(t *testing.T, u *unbounded, other net.Conn)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				u := &unbounded{Conn: ours}
				defer u.Close()
				f(t, u, theirs)
			})
		})
	}
	read := func(u *unbounded) error { _, err := u.Read(make([]byte, 1)); return err }
	within("a deadline ends a read", func(t *testing.T, u *unbounded, _ net.Conn) {
		began := time.Now()
		u.SetReadDeadline(began.Add(time.Second))
		if err := read(u); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if err := read(u); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("and then %v", err)
		}
		u.SetDeadline(time.Time{})
		if _, err := u.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a write after that: %v", err)
		}
	})
	within("one that is set while it waits", func(t *testing.T, u *unbounded, _ net.Conn) {
		began := time.Now()
		u.SetReadDeadline(began.Add(time.Hour))
		go func() { <-time.After(time.Second); u.SetDeadline(time.Unix(1, 0)) }()
		if err := read(u); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
	within("one that is past takes nothing", func(t *testing.T, u *unbounded, other net.Conn) {
		u.SetReadDeadline(time.Now())
		if err := read(u); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		// Nothing was under way, and so the connection is as it was.
		u.SetReadDeadline(time.Time{})
		go io.WriteString(other, "x")
		if err := read(u); err != nil {
			t.Error(err)
		}
	})
	within("one that passes while nothing waits", func(t *testing.T, u *unbounded, other net.Conn) {
		u.SetReadDeadline(time.Now().Add(time.Second))
		go io.WriteString(other, "x")
		if err := read(u); err != nil {
			t.Error(err)
		}
		<-time.After(time.Hour)
		u.SetReadDeadline(time.Time{})
		go io.WriteString(other, "x")
		if err := read(u); err != nil {
			t.Error(err)
		}
	})
	within("each direction has its own", func(t *testing.T, u *unbounded, other net.Conn) {
		u.SetReadDeadline(time.Now().Add(time.Second))
		go func() { <-time.After(time.Minute); io.ReadFull(other, make([]byte, 1)) }()
		if _, err := u.Write([]byte("x")); err != nil {
			t.Error(err)
		}
	})
	within("the end is the end", func(t *testing.T, u *unbounded, other net.Conn) {
		u.SetReadDeadline(time.Now().Add(time.Hour))
		other.Close()
		if err := read(u); err != io.EOF {
			t.Error(err)
		}
	})
}

// TestRest is that a session which is kept holds on to nothing long.
func TestRest(t *testing.T) {
	for n, kept := range map[int]bool{3: true, keptRcpts: true, 5000: false} {
		s := &Session{}
		s.res = Result{Rcpts: s.rcptResults(n), Mail: Reply{Code: 250, Text: "x"}}
		for i := range s.res.Rcpts {
			s.res.Rcpts[i].Reply.Text = "no"
		}
		s.rd.text, s.rd.long = make([]byte, 0, maxAuthLine), make([]byte, 0, maxBuffer)
		before := s.res.Rcpts
		s.Rest()
		if (cap(s.res.Rcpts) > 0) != kept || s.res.Mail != (Reply{}) || before[n-1].Reply.Text != "" || s.rd.text != nil || s.rd.long == nil {
			t.Errorf("%d recipients: room for %d is kept, %+v", n, cap(s.res.Rcpts), before[n-1])
		}
	}
}
