//go:build unix

package main

import (
	"slices"
	"strings"
	"testing"
)

// TestArgumentsOfPrograms are command lines of programs that were written for another
// sendmail. Each is for a message, and none of it is lost.
func TestArgumentsOfPrograms(t *testing.T) {
	for line, want := range map[string]options{
		"-Ac -t -i":                               {fromHeader: true, keepDots: true},
		"-Am -oi b@e.test":                        {keepDots: true, recipients: []string{"b@e.test"}},
		"-A c b@e.test":                           {recipients: []string{"b@e.test"}},
		"-D /tmp/log -t":                          {fromHeader: true},
		"-d0.1 -t":                                {fromHeader: true},
		"-d -t":                                   {fromHeader: true},
		"-T3d -x -E -t":                           {fromHeader: true},
		"-T b@e.test":                             {recipients: []string{"b@e.test"}},
		"-ep b@e.test":                            {recipients: []string{"b@e.test"}},
		"-eq -i b@e.test":                         {keepDots: true, recipients: []string{"b@e.test"}},
		"-tem":                                    {fromHeader: true},
		"-e m -b m b@e.test":                      {recipients: []string{"b@e.test"}},
		"-o i -o em b@e.test":                     {keepDots: true, recipients: []string{"b@e.test"}},
		"-M name -c -J b@e.test":                  {recipients: []string{"b@e.test"}},
		"-FCronDaemon -i -B8BITMIME -oem root":    {keepDots: true, name: "CronDaemon", recipients: []string{"root"}},
		"-oem -oi -f a@e.test -- b@e.test":        {keepDots: true, from: "a@e.test", fromGiven: true, recipients: []string{"b@e.test"}},
		"-fa@e.test -ti":                          {fromHeader: true, keepDots: true, from: "a@e.test", fromGiven: true},
		"-f|Web Master <a@e.test>|-t":             {fromHeader: true, from: "a@e.test", fromGiven: true},
		"-r|\"Master, Web\" <a@e.test> (x)|-t":    {fromHeader: true, from: "a@e.test", fromGiven: true},
		"-f|<>|-t":                                {fromHeader: true, fromGiven: true},
		"-f||-t":                                  {fromHeader: true, fromGiven: true},
		"-f|a@e.test, b@e.test|-t":                {fromHeader: true, from: "a@e.test, b@e.test", fromGiven: true}, // refused later
		"-X /tmp/log -O DeliveryMode=b -odb -t":   {fromHeader: true},
		"-p ESMTP:host -L tag -h 3 -U -G -nvm -t": {fromHeader: true},
	} {
		args := strings.Fields(line)
		if strings.Contains(line, "|") {
			args = strings.Split(line, "|")
		}
		o, err := parseArguments("sendmail", args)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if o.mode != modeSend || o.fromHeader != want.fromHeader || o.keepDots != want.keepDots || o.from != want.from ||
			o.fromGiven != want.fromGiven || o.name != want.name || !slices.Equal(o.recipients, want.recipients) {
			t.Errorf("%s: %+v, want %+v", line, *o, want)
		}
	}
}

// TestArgumentsThatContradict: a message on standard input is never passed over in silence.
func TestArgumentsThatContradict(t *testing.T) {
	for _, line := range []string{"-t -q", "-i -t -q15m", "-q -t", "-bp -t", "-bd -t", "-bs -t", "-bi -t", "-I -t", "-q b@e.test"} {
		if o, err := parseArguments("sendmail", strings.Fields(line)); err == nil {
			t.Errorf("%s is taken: %+v", line, *o)
		}
	}
	for _, line := range []string{"-I", "-bi", "-q30m", "-bd -q30m", "-bp -v"} {
		if _, err := parseArguments("sendmail", strings.Fields(line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}
