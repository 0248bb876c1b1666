package smtptest

import (
	"testing"
)

// Cut takes hosts off the network until Heal: host names, addresses, or
// prefixes, as Network.Cut has them.
func (in *Internet) Cut(where ...string) error { return in.setCut(true, where) }

// Heal undoes Cut.
func (in *Internet) Heal(where ...string) error { return in.setCut(false, where) }

func (in *Internet) setCut(cut bool, where []string) error {
	if err := in.Open(); err != nil {
		return err
	}
	var list []string
	for _, text := range where {
		if _, err := parsePrefix(text); err == nil {
			list = append(list, text)
			continue
		}
		addrs, err := in.addresses(text)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			list = append(list, a.String())
		}
	}
	return in.network.setCut(cut, list)
}

// SetLink changes the way to a host name or an address.
func (in *Internet) SetLink(where string, to Link) error {
	if err := in.Open(); err != nil {
		return err
	}
	addrs, err := in.addresses(where)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if err := in.network.SetLink(a.String(), to); err != nil {
			return err
		}
	}
	return nil
}

// Visits lists the connection attempts so far by the name under which Hosts has
// the host, or by address and port if it has none.
func (in *Internet) Visits() []string {
	var list []string
	for _, d := range in.network.Dials() {
		name, ok := in.names[d.Addr]
		if !ok {
			name = d.Addr.String()
		}
		list = append(list, name)
	}
	return list
}

// Check reports every violation at any host as an error of the test.
func (in *Internet) Check(tb testing.TB) {
	tb.Helper()
	for _, h := range in.Hosts {
		h.Check(tb)
	}
}
