package mx

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// systemResolvConf is where the system says which DNS servers it uses.
const systemResolvConf = "/etc/resolv.conf"

// System returns a Client for the servers of /etc/resolv.conf, with the options of that
// file and of the environment variable RES_OPTIONS. The file is read again when it
// changes. The AD bit of the servers is believed if there is "options trust-ad". "search",
// "domain" and LOCALDOMAIN are ignored, because a mail domain is never completed (RFC 5321
// section 2.3.5). A HostLookup uses them.
//
// The error wraps that of opening the file. On systems without the file, such as Windows,
// use FromNet.
func System() (*Client, error) {
	// Another one reads the file now, so that the first question of the caller's
	// tells its Trace.
	if _, err := (&Client{File: systemResolvConf}).settings(); err != nil {
		return nil, fmt.Errorf("DNS servers of this system: %w", err)
	}
	return &Client{File: systemResolvConf}, nil
}

// Reread makes the next question read the File, even if it seems unchanged or has "options
// no-reload". It is for programs that learn of a change by a signal. It is safe to call at
// any time.
func (c *Client) Reread() { c.conf.file.asked.Store(true) }

// settings are what a Client goes by for one question.
type settings struct {
	servers  []Server
	timeout  time.Duration
	attempts int
	rotate   bool
	tcpOnly  bool
}

// settings returns the settings in force: the fields, and the file for those that are
// not set.
func (c *Client) settings() (*settings, error) {
	s := &settings{servers: c.Servers, timeout: c.Timeout, attempts: c.Attempts, rotate: c.Rotate, tcpOnly: c.TCPOnly}
	if c.File != "" {
		conf, err := c.conf.get(c.File, c.Trace)
		if err != nil {
			return nil, err
		}
		if len(s.servers) == 0 {
			s.servers = conf.servers
		}
		if s.timeout == 0 {
			s.timeout = conf.timeout
		}
		if s.attempts == 0 {
			s.attempts = conf.attempts
		}
		s.rotate, s.tcpOnly = s.rotate || conf.rotate, s.tcpOnly || conf.tcpOnly
	}
	if s.timeout == 0 {
		s.timeout = defaultQueryTimeout
	}
	if s.attempts == 0 {
		s.attempts = defaultQueryAttempts
	}
	if c.MaxTimeout > 0 {
		s.timeout = min(s.timeout, c.MaxTimeout)
	}
	return s, nil
}

// confFile is a resolv.conf that is read again when it changes.
type confFile struct{ file watched[resolvConf] }

var errNoServers = errors.New("it no longer names a server")

// get is what the file says now.
func (f *confFile) get(path string, trace *Trace) (*resolvConf, error) {
	known := f.file.current()
	if known != nil && known.noReload && !f.file.asked.Load() {
		return known, nil
	}
	parse := func(text []byte) (*resolvConf, error) {
		conf := parseResolvConf(string(text), machine{os.Getenv, os.Hostname})
		if known != nil && !conf.named {
			// A file that is being written, or a network that is going down.
			return nil, errNoServers
		}
		return conf, nil
	}
	conf, err := f.file.look(path, mostConfigBytes, parse, func(conf *resolvConf, err error) {
		var ignored []string
		if conf != nil {
			ignored = conf.ignored
		}
		trace.read(path, ignored, err)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return conf, nil
}
