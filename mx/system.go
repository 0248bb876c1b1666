package mx

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// resolvConf is where the system says which DNS servers it uses.
const resolvConf = "/etc/resolv.conf"

// The bounds of resolv.conf(5), and the most that is read of the file.
const (
	mostServers     = 3
	mostTimeout     = 30 * time.Second
	mostAttempts    = 5
	mostConfigBytes = 64 << 10
)

// System is a Client for the servers of /etc/resolv.conf, with its timeout and
// attempts. The AD bit of the servers is believed where the file has "options
// trust-ad". "search", "domain" and "ndots" play no part: a mail domain is never
// completed (RFC 5321 section 2.3.5). The file is read once.
//
// The error wraps the one of opening the file; where there is none, as on
// Windows, FromNet may serve.
func System() (*Client, error) {
	file, err := os.Open(resolvConf)
	if err != nil {
		return nil, fmt.Errorf("DNS servers of this system: %w", err)
	}
	defer file.Close()
	c, err := readResolvConf(file)
	if err != nil {
		return nil, fmt.Errorf("DNS servers of this system: %s: %w", resolvConf, err)
	}
	return c, nil
}

// readResolvConf makes a Client of a file in resolv.conf(5)'s form. Without a
// server in it, that is one on this machine.
func readResolvConf(r io.Reader) (*Client, error) {
	text, err := io.ReadAll(io.LimitReader(r, mostConfigBytes))
	if err != nil {
		return nil, err
	}
	conf, err := dns.ClientConfigFromReader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if len(conf.Servers) == 0 {
		conf.Servers = []string{"127.0.0.1", "::1"}
	}
	trust := hasOption(string(text), "trust-ad")
	c := &Client{
		Timeout:  min(time.Duration(min(conf.Timeout, 3600))*time.Second, mostTimeout),
		Attempts: min(conf.Attempts, mostAttempts),
	}
	for _, host := range conf.Servers[:min(len(conf.Servers), mostServers)] {
		c.Servers = append(c.Servers, Server{Addr: net.JoinHostPort(host, conf.Port), TrustAD: trust})
	}
	return c, nil
}

// hasOption is whether an "options" line has the word.
func hasOption(text, word string) bool {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == "options" && slices.Contains(fields[1:], word) {
			return true
		}
	}
	return false
}
