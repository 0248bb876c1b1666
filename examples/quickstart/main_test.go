package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestProgram runs the first command of the README.
func TestProgram(t *testing.T) {
	began := time.Now()
	out, err := exec.CommandContext(t.Context(), "go", "run", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%v, with building it", time.Since(began).Round(time.Millisecond))
	if strings.Contains(string(out), "\x1b") {
		t.Error("there are colours where there is no terminal")
	}
	for _, want := range []string{
		"asks DNS for the MX records of example.com: 10 mail.example.com, 20 mx2.example.com",
		"> BDAT", "connection refused", "not mx2.example.com: it is this host",
		"has passed it on to mail.example.com: 250", "has passed it on to smart.example.net: 250",
		"yes  no client broke a rule of SMTP",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the story lacks %q", want)
		}
	}
	if t.Failed() || strings.Contains(string(out), "NO  ") {
		t.Errorf("\n%s", out)
	}
}

// TestNotAsTold breaks the world. The program must say which line is wrong.
func TestNotAsTold(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*plan)
		wrong  []string
	}{
		{"the primary never comes back", func(p *plan) { p.stays = true }, []string{
			"mx2 passed it on when the primary was back",
			"the primary received it octet for octet, once, below mx2's Received field",
			"its queue is empty",
		}},
		{"mx2 is led to another host", func(p *plan) {
			p.meddle = func(w *world) {
				led := strings.Replace(zone, mailIP, smartIP, 1)
				if err := w.dns.DNS.SetZone(led); err != nil {
					t.Error(err)
				}
				if err := w.smart.up(); err != nil {
					t.Error(err)
				}
			}
		}, []string{
			"the primary received it octet for octet, once, below mx2's Received field",
			"and connected to no host but the primary",
		}},
		{"mx2 does not know that it is mx2", func(p *plan) { p.selfless = true }, []string{
			"and connected to no host but the primary",
		}},
		{"DNS has the hosts the wrong way round", func(p *plan) {
			p.zone = strings.NewReplacer("10 mail", "20 mail", "20 mx2", "10 mx2").Replace(zone)
		}, []string{
			"the primary accepted the first message",
			"when it was down, the sender fell through to mx2",
		}},
		{"DNS knows no such domain", func(p *plan) {
			p.zone = strings.Replace(zone, "example.com", "example.org", 1)
		}, []string{"the primary accepted the first message"}},
		{"the smart host has no address", func(p *plan) {
			p.zone = strings.Replace(zone, "smart", "other", 1)
		}, []string{
			"with a smart host down, the sender fell through to the next in its table",
			"mx2 passed it on when the smart host was back",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := asTold()
			p.pause, p.patience = 20*time.Millisecond, 500*time.Millisecond
			c.change(&p)
			var out, complaints strings.Builder
			code := command(t.Context(), &out, &complaints, p)
			if code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			for _, line := range c.wrong {
				if !strings.Contains(out.String(), "  NO   "+line+"\n") {
					t.Errorf("it does not say that this is wrong: %q", line)
				}
			}
			if t.Failed() {
				t.Errorf("%s\n%s", complaints.String(), out.String())
			}
		})
	}
}

// TestColours: a terminal gets them, and the words stay the same.
func TestColours(t *testing.T) {
	var plain, coloured strings.Builder
	for w, colour := range map[*strings.Builder]bool{&plain: false, &coloured: true} {
		teller := newTeller(w)
		if teller.colour {
			t.Error("a buffer is taken for a terminal")
		}
		teller.colour = colour
		teller.chapter("One")
		teller.checked(&claim{text: "this", holds: true})
	}
	if got := coloured.String(); got == plain.String() || !strings.Contains(got, "\x1b[32myes\x1b[0m  this") {
		t.Errorf("%q", got)
	}
}
