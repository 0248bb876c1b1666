package session

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

func TestLacks(t *testing.T) {
	addr, other := netip.MustParseAddrPort("192.0.2.1:25"), netip.MustParseAddrPort("192.0.2.2:25")
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) time.Time { return began.Add(d) }
	lost := smtp.Doubt{Next: smtp.OptSize | smtp.OptPipelining}
	busy := smtp.Doubt{Next: smtp.OptEHLO, Brief: smtp.OptEHLO}
	for _, c := range []struct {
		name string
		do   func(m *Memory)
		when time.Duration
		want smtp.Option
	}{
		{"nothing is known", func(*Memory) {}, 0, 0},
		{"known for an hour", func(m *Memory) { m.Lacks(addr, smtp.OptTLS, began) }, time.Hour - 1, smtp.OptTLS},
		{"and not for longer", func(m *Memory) { m.Lacks(addr, smtp.OptTLS, began) }, time.Hour, 0},
		{"what is learnt later does not make it longer", func(m *Memory) {
			m.Lacks(addr, smtp.OptTLS, began)
			m.Lacks(addr, smtp.OptSize, at(50*time.Minute))
		}, time.Hour, 0},
		{"another address is not concerned", func(m *Memory) { m.Lacks(other, smtp.OptTLS, began) }, 0, 0},
		{"suspected for a day", func(m *Memory) { m.Suspect(addr, lost, began) }, 24*time.Hour - 1, lost.Next},
		{"and not for longer", func(m *Memory) { m.Suspect(addr, lost, began) }, 24 * time.Hour, 0},
		{"confirmed for an hour", func(m *Memory) {
			m.Suspect(addr, lost, began)
			m.Confirm(addr, lost.Next, at(4*time.Hour))
		}, 5*time.Hour - 1, lost.Next},
		{"confirmed, and not for longer", func(m *Memory) {
			m.Suspect(addr, lost, began)
			m.Confirm(addr, lost.Next, at(4*time.Hour))
		}, 5 * time.Hour, 0},
		{"confirmed in part", func(m *Memory) {
			m.Suspect(addr, lost, began)
			m.Confirm(addr, smtp.OptSize, began)
			m.Acquit(addr, smtp.OptPipelining, began)
		}, 0, smtp.OptSize},
		{"acquitted", func(m *Memory) {
			m.Suspect(addr, lost, began)
			m.Acquit(addr, lost.Next, began)
		}, 0, 0},
		{"what is known is not acquitted", func(m *Memory) {
			m.Lacks(addr, smtp.OptSize, began)
			m.Acquit(addr, smtp.OptSize, began)
		}, 0, smtp.OptSize},
		{"the moment's is suspected", func(m *Memory) { m.Suspect(addr, busy, began) }, 0, smtp.OptEHLO},
		{"the moment's is forgotten once it went well", func(m *Memory) {
			m.Suspect(addr, busy, began)
			m.Confirm(addr, smtp.OptEHLO, began)
		}, 0, 0},
		{"a loss after that outweighs it", func(m *Memory) {
			m.Suspect(addr, busy, began)
			m.Suspect(addr, smtp.Doubt{Next: smtp.OptEHLO}, began)
			m.Confirm(addr, smtp.OptEHLO, began)
		}, 0, smtp.OptEHLO},
		{"what is confirmed later does not make it longer", func(m *Memory) {
			m.Lacks(addr, smtp.OptTLS, began)
			m.Suspect(addr, lost, at(50*time.Minute))
			m.Confirm(addr, lost.Next, at(50*time.Minute))
		}, time.Hour, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m Memory
			c.do(&m)
			if got := m.Without(addr, at(c.when)); got != c.want {
				t.Errorf("without %q, want %q", got, c.want)
			}
		})
	}
	t.Run("no more than 4,096 addresses", func(t *testing.T) {
		var m Memory
		for i := range 3 * maxRemembered {
			m.Lacks(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 25), smtp.OptTLS, began)
			if len(m.lacks) > maxRemembered {
				t.Fatalf("%d are remembered", len(m.lacks))
			}
		}
	})
	t.Run("what is acquitted takes no room", func(t *testing.T) {
		var m Memory
		m.Suspect(addr, lost, began)
		m.Acquit(addr, lost.Next, began)
		if len(m.lacks) != 0 {
			t.Errorf("%d are remembered", len(m.lacks))
		}
	})
	t.Run("more about one that is known makes nobody forgotten", func(t *testing.T) {
		var m Memory
		m.Lacks(addr, smtp.OptTLS, began)
		for i := range maxRemembered - 1 {
			m.Lacks(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 25), smtp.OptTLS, began)
		}
		m.Lacks(addr, smtp.OptSize, began)
		if len(m.lacks) != maxRemembered {
			t.Errorf("%d are remembered", len(m.lacks))
		}
	})
	t.Run("what has run out makes room first", func(t *testing.T) {
		var m Memory
		for i := range maxRemembered - 1 {
			m.Lacks(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 25), smtp.OptTLS, began)
		}
		m.Lacks(addr, smtp.OptTLS, at(2*time.Hour))
		if len(m.lacks) != maxRemembered {
			t.Errorf("%d are remembered: all are looked at though there is room", len(m.lacks))
		}
		m.Lacks(other, smtp.OptTLS, at(2*time.Hour))
		if m.Without(addr, at(2*time.Hour)) == 0 || m.Without(other, at(2*time.Hour)) == 0 || len(m.lacks) != 2 {
			t.Errorf("%d are remembered", len(m.lacks))
		}
	})
}

func TestSpare(t *testing.T) {
	all := smtp.OptEHLO | smtp.OptTLS | smtp.OptSize
	for _, c := range []struct {
		name       string
		level      mx.TLSLevel
		login      bool
		extensions bool
		want       smtp.Option
	}{
		{"nobody requires anything", mx.TLSMay, false, false, all},
		{"TLS is required", mx.TLSEncrypt, false, false, smtp.OptSize},
		{"a certificate is required", mx.TLSVerify, false, false, smtp.OptSize},
		{"TLS is not wanted", mx.TLSNone, false, false, smtp.OptEHLO | smtp.OptSize},
		{"a login", mx.TLSNone, true, false, smtp.OptSize},
		{"content that needs an extension", mx.TLSMay, false, true, smtp.OptTLS | smtp.OptSize},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := Hop{Host: &mx.Host{}, Policy: &Policy{Level: c.level}}
			if c.login {
				h.Host.Login = &smarthost.Login{}
			}
			if got := h.Spare(all, c.extensions); got != c.want {
				t.Errorf("%q may be left out, want %q", got, c.want)
			}
		})
	}
}

// TestKey is that no session is kept for a message that asks for something else.
func TestKey(t *testing.T) {
	hop := func(change func(h *Hop)) key {
		h := &Hop{
			Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"),
			Policy: &Policy{Level: mx.TLSVerify, ServerName: "mx.e.test", Key: "sts:e.test"},
		}
		change(h)
		return h.key()
	}
	usual := hop(func(*Hop) {})
	for name, change := range map[string]func(*Hop){
		"host":        func(h *Hop) { h.Host.Name = "mx2.e.test" },
		"address":     func(h *Hop) { h.Addr = netip.MustParseAddrPort("192.0.2.2:25") },
		"port":        func(h *Hop) { h.Addr = netip.MustParseAddrPort("192.0.2.1:26") },
		"source":      func(h *Hop) { h.Source = netip.MustParseAddr("192.0.2.9") },
		"level":       func(h *Hop) { h.Policy.Level = mx.TLSEncrypt },
		"server name": func(h *Hop) { h.Policy.ServerName = "other.test" },
		"policy":      func(h *Hop) { h.Policy.Key = "sts:other.test" },
		"login":       func(h *Hop) { h.Host.Login = &smarthost.Login{} },
		"HELO":        func(h *Hop) { h.Without = smtp.OptEHLO },
	} {
		t.Run("SMTP-43 "+name, func(t *testing.T) {
			if hop(change) == usual {
				t.Error("the same key")
			}
		})
	}
	t.Run("what else is left out makes no difference", func(t *testing.T) {
		if hop(func(h *Hop) { h.Without = smtp.OptSize | smtp.OptPipelining }) != usual {
			t.Error("another key")
		}
	})
	for _, level := range []mx.TLSLevel{mx.TLSEncrypt, mx.TLSVerify} {
		t.Run(fmt.Sprintf("TLS-2 never in clear at level %v", level), func(t *testing.T) {
			h := &Hop{Host: &mx.Host{}, Policy: &Policy{Level: level}, Without: smtp.OptTLS}
			if h.Level() != level {
				t.Errorf("level %v", h.Level())
			}
		})
	}
	t.Run("below a check of certificates, who asked for TLS makes no difference", func(t *testing.T) {
		one := hop(func(h *Hop) { h.Policy = &Policy{Level: mx.TLSEncrypt, Key: "a", ServerName: "a"} })
		if hop(func(h *Hop) { h.Policy = &Policy{Level: mx.TLSEncrypt, Key: "b", ServerName: "b"} }) != one {
			t.Error("another key")
		}
	})
	t.Run("SMTP-43 in clear where TLS is left out", func(t *testing.T) {
		may := hop(func(h *Hop) { h.Policy = &Policy{Level: mx.TLSMay} })
		if hop(func(h *Hop) { h.Policy, h.Without = &Policy{Level: mx.TLSMay}, smtp.OptTLS }) == may {
			t.Error("the same key")
		}
	})
}
