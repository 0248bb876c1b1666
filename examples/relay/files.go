package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/mx"
)

// followFiles reads files again that have changed, and all of them at SIGHUP: smart
// hosts and their secrets, the certificate and its key, the limits and the certificates
// that they name, and the users who may log in. The library follows resolv.conf and the
// hosts file by itself, and reads them at SIGHUP. At SIGHUP the events' file is opened
// again, too. If a file has become invalid, its previous content stays in force.
func (p *parts) followFiles(ctx context.Context) {
	tick := time.NewTicker(cli.Often)
	defer tick.Stop()
	hosts := &cli.Watch{Files: p.options.SmartHosts.Files()}
	keys := &cli.Watch{Files: p.keys.files()}
	logins := &cli.Watch{Files: p.logins.files()}
	hosts.Changed()
	keys.Changed()
	logins.Changed()
	again := func(asked bool) {
		if asked {
			p.options.Reread()
			p.complain("-events", p.journal.open())
		}
		if hosts.Changed() || asked {
			p.complain("the smart hosts in use stay so", p.readSmartHosts())
		}
		if p.limits.Changed() || asked {
			p.complain("-limits: those in force stay so", p.readLimits(nil))
		}
		if keys.Changed() || asked {
			p.complain("-cert, -key: the certificate in use stays so", p.keys.read())
		}
		if logins.Changed() || asked {
			p.complain("-logins: those who may log in stay so", p.logins.read())
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.hangup:
			p.reloading(func() { again(true) })
		case <-tick.C:
			again(false)
		}
	}
}

// readSmartHosts reads smart hosts again, and has those tried again that refused the
// secret of before.
func (p *parts) readSmartHosts() error {
	if err := p.options.Reload(); err != nil {
		return err
	}
	return p.agent.Configure(p.settings)
}

// readLimits reads the limits: at first for a sender, and then again for the agent at work.
func (p *parts) readLimits(first *delivery.Sender) error {
	f, err := readLimits(p.options.limits)
	if err != nil {
		return err
	}
	s := p.settings
	s.Rules, s.Groups = f.rules, f.groups
	if first != nil {
		p.choosePolicy(first)
	} else if err = p.agent.Configure(s); err != nil {
		return err
	}
	if p.policy != nil {
		if err := p.policy.SetRules(f.trust()); err != nil {
			return err // readLimits has looked at each
		}
	}
	p.settings = s
	p.limits = cli.Watch{}
	if p.options.limits != "" {
		p.limits.Files = []string{p.options.limits}
		for i := range f.tls {
			p.limits.Files = append(p.limits.Files, f.tls[i].files...)
		}
	}
	p.limits.Changed()
	return nil
}

// choosePolicy returns the policy source of a sender. If there is none, because of -tls
// none, it makes one for the rules of -limits.
func (p *parts) choosePolicy(s *delivery.Sender) {
	p.policy, _ = s.Policy.(*trust.Source)
	if p.policy == nil && p.options.limits != "" {
		p.policy = &trust.Source{NoDANE: true, NoMTASTS: true, Default: trust.None}
		s.Policy, s.TLS = p.policy, mx.TLSDefault
	}
}

func (p *parts) complain(about string, err error) {
	if err != nil {
		fmt.Fprintf(p.log, "relay: %s: %v\n", about, err)
	}
}

// keyPair is a certificate with its key that can be read again while it is in use. Nil
// means none.
type keyPair struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

func newKeyPair(certFile, keyFile string) (*keyPair, error) {
	if certFile == "" {
		return nil, nil
	}
	k := &keyPair{certFile: certFile, keyFile: keyFile}
	return k, k.read()
}

// read reads the files. If there is an error, for example because only one of them was
// renewed so far, nothing changes.
func (k *keyPair) read() error {
	if k == nil {
		return nil
	}
	c, err := tls.LoadX509KeyPair(k.certFile, k.keyFile)
	if err == nil {
		k.current.Store(&c)
	}
	return err
}

func (k *keyPair) files() []string {
	if k == nil {
		return nil
	}
	return []string{k.certFile, k.keyFile}
}

// config returns the configuration of a server. It gives out no tickets: package tls sends
// one behind the handshake of TLS 1.3, and there are clients that end the connection if it
// arrives while they are still in the handshake (golang.org/issue/70232).
func (k *keyPair) config() *tls.Config {
	if k == nil {
		return nil
	}
	return &tls.Config{
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.current.Load(), nil },
		SessionTicketsDisabled: true,
	}
}
