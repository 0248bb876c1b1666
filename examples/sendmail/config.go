//go:build unix

package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

const (
	defaultConfig = "/etc/nexthop/sendmail.conf"
	prefix        = "NEXTHOP_SENDMAIL_"
)

// config has the settings: those of cli.Transport for outgoing mail (smarthost, tls,
// helo, source and so on), and these.
type config struct {
	cli.Transport
	domain              string // of addresses without one
	state               string // directory of the queue and the maildrop
	socket              string
	aliases, rewrites   cli.List
	retry               string
	expire, warn        cli.Duration
	quotaMessages       int
	quotaBytes, maxSize int64
	collectEvery        cli.Duration
	patience            cli.Duration
	flags               *flag.FlagSet
	aliasOf             map[string][]string
	rewriting           []rewrite
	problems            []error
}

func (c *config) maildrop() string { return filepath.Join(c.state, "maildrop") }
func (c *config) queue() string    { return filepath.Join(c.state, "queue") }
func (c *config) rejected() string { return filepath.Join(c.state, "rejected") }

// newConfig is the configuration without any settings.
func newConfig() *config {
	c := &config{
		expire: cli.Duration(5 * 24 * time.Hour), warn: cli.Duration(4 * time.Hour), collectEvery: cli.Duration(5 * time.Second), patience: cli.Duration(30 * time.Second),
		flags: flag.NewFlagSet("sendmail.conf", flag.ContinueOnError),
	}
	fs := c.flags
	fs.SetOutput(io.Discard)
	c.Define(fs)
	fs.StringVar(&c.domain, "domain", "", "domain that is added to addresses without one (default: the content of /etc/mailname, else the machine's name)")
	fs.StringVar(&c.state, "state", "/var/lib/nexthop-sendmail", "directory of the queue and the maildrop")
	fs.StringVar(&c.socket, "socket", "/run/nexthop-sendmail/submit", "socket on which the runner listens")
	fs.Var(&c.aliases, "alias", "NAME=ADDRESS,...: addresses for the mail of a local name; * is every name without an alias of its own")
	fs.Var(&c.rewrites, "rewrite", "PATTERN=ADDRESS: replaces a sender. A pattern is a local name, an address, @DOMAIN or *; if ADDRESS is @DOMAIN, the local part stays")
	fs.StringVar(&c.retry, "retry", "5m,15m,30m,1h,2h,4h", "delays between attempts, the last repeats")
	fs.Var(&c.expire, "expire", "give up after this time")
	fs.Var(&c.warn, "warn", "notify the sender of a delay after this time; 0: never")
	fs.IntVar(&c.quotaMessages, "quota-messages", 1000, "maximum of queued messages per user; root has no quota")
	fs.Int64Var(&c.quotaBytes, "quota-bytes", 100<<20, "the same quota in octets")
	fs.Int64Var(&c.maxSize, "max-size", 50<<20, "largest message, in octets")
	fs.Var(&c.collectEvery, "collect-every", "how often the runner checks the maildrop")
	fs.Var(&c.patience, "patience", "how long a program waits for the runner before it puts its message into the maildrop")
	return c
}

// readConfig reads the file, or the default one if file is "", and the environment,
// which takes precedence.
func readConfig(file string, environ []string) (*config, error) {
	c := newConfig()
	given := file != ""
	if !given {
		file = defaultConfig
	}
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, prefix+"CONFIG="); ok && !given {
			file, given = value, true
		}
	}
	text, err := os.ReadFile(file)
	switch {
	case err != nil && (given || !errors.Is(err, fs.ErrNotExist)):
		return nil, cli.Config("%w", err)
	case err == nil:
		c.readFile(file, text)
	}
	c.readEnvironment(environ)
	c.complete()
	if len(c.problems) > 0 {
		return nil, cli.Config("%w", errors.Join(c.problems...))
	}
	return c, nil
}

func (c *config) wrong(format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf(format, args...))
}

// readFile takes a setting from each line, NAME = VALUE. Errors do not repeat values,
// which may have a password.
func (c *config) readFile(file string, text []byte) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		f := c.flags.Lookup(name)
		switch {
		case !ok:
			c.wrong("%s:%d: not NAME = VALUE", file, n)
		case f == nil:
			c.wrong("%s:%d: unknown setting %q", file, n, name)
		case f.Value.Set(value) != nil:
			c.wrong("%s:%d: invalid value for %s", file, n, name)
		}
	}
}

// readEnvironment takes settings from the environment: a list there takes the place of
// the file's.
func (c *config) readEnvironment(environ []string) {
	kept := environ[:0:0]
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if name == prefix+"CONFIG" {
			continue
		}
		kept = append(kept, entry)
		if f := c.flags.Lookup(strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, prefix), "_", "-"))); f != nil && strings.HasPrefix(name, prefix) {
			if l, ok := f.Value.(*cli.List); ok {
				*l = nil
			}
		}
	}
	unknown, err := cli.FromEnvironment(c.flags, prefix, kept)
	for _, name := range unknown {
		c.wrong("unknown setting %s", name)
	}
	if err != nil {
		c.problems = append(c.problems, err)
	}
}

// complete fills in defaults that are not constants, and takes lists apart.
func (c *config) complete() {
	if c.domain == "" {
		text, err := os.ReadFile("/etc/mailname")
		if c.domain = strings.TrimSpace(string(text)); err != nil || c.domain == "" {
			c.domain, _ = os.Hostname()
		}
	}
	if c.domain == "" {
		c.domain = "localhost"
	}
	c.aliasOf = make(map[string][]string)
	for _, a := range c.aliases {
		if err := c.addAlias(a); err != nil {
			c.problems = append(c.problems, err)
		}
	}
	for _, r := range c.rewrites {
		parsed, err := parseRewrite(r)
		if err != nil {
			c.problems = append(c.problems, err)
		}
		c.rewriting = append(c.rewriting, parsed)
	}
	if _, err := c.schedule(); err != nil {
		c.problems = append(c.problems, err)
	}
	if c.collectEvery <= 0 || c.patience <= 0 || c.expire <= 0 || c.maxSize <= 0 {
		c.wrong("collect-every, patience, expire and max-size are more than nothing")
	}
}

// schedule is the delays between attempts.
func (c *config) schedule() (delays delivery.Delays, err error) {
	for word := range strings.SplitSeq(c.retry, ",") {
		d, err := cli.ParseDuration(strings.TrimSpace(word))
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("retry: %q is not a delay, such as 30s, 4h or 1d", word)
		}
		delays = append(delays, d)
	}
	return delays, nil
}

// settings returns the settings of the agent.
func (c *config) settings() delivery.Settings {
	delays, _ := c.schedule() // was checked
	s := delivery.Settings{Schedule: delays, Expire: time.Duration(c.expire), Warn: time.Duration(c.warn)}
	if s.Warn == 0 {
		s.Warn = -1
	}
	return s
}
