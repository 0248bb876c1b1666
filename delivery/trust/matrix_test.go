//go:build !race

// The race detector makes this take minutes. make test runs this file without it.

package trust_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// The axes of the matrix. The first four are the host's, the last two the domain's.
var (
	aliases  = []string{"no alias", "secure alias", "insecure alias"}
	records  = []string{"no records", "usable", "unusable", "mixed", "insecure", "failed"}
	servers  = []string{"right", "wrong", "expired", "wrong name", "self-signed", "absent", "broken"}
	policies = []string{"no policy", "testing", "enforce", "mismatch", "unreachable", "cached"}
)

// place is a host of the matrix, and cell a domain with it for its host.
type place struct {
	alias, records, server string
	address                bool // it is secure
}

type cell struct {
	place
	mx     bool // secure
	policy string
}

// verdict is what has to become of mail.
type verdict struct {
	delivered bool
	tls       string
	result    tlsrpt.Result
}

// oracle is what the RFCs say of a cell, in their order.
func oracle(c *cell) verdict {
	offered := c.server != "absent" && c.server != "broken"
	noTLS := tlsrpt.StartTLSNotSupported
	if c.server == "broken" {
		noTLS = tlsrpt.ValidationFailure
	}
	// RFC 7672 section 2.2.1: insecure MX records, no DANE. Section 2.2.2: TLSA records are
	// asked for if the addresses are secure, or if the first alias is and they are not.
	applies := c.mx && (c.alias == "no alias" && c.address || c.alias == "secure alias")
	set := "no records"
	if applies && c.records != "insecure" { // section 2.1.1
		set = c.records
	}
	switch set {
	case "failed": // section 2.1.2: the host is unreachable
		return verdict{false, "none", tlsrpt.DNSSECInvalid}
	case "usable", "mixed": // section 2.2: authenticated, or nothing
		switch {
		case !offered:
			return verdict{false, "none", noTLS}
		case c.server == "wrong":
			return verdict{false, "none", tlsrpt.NotTrusted}
		default: // section 3.1.1: names and dates do not matter
			return verdict{true, "dane", tlsrpt.Success}
		}
	}
	// RFC 8461 section 4: the name, then TLS, then the certificate.
	switch c.policy {
	case "mismatch":
		return verdict{false, "none", tlsrpt.ValidationFailure}
	case "enforce", "cached":
		switch {
		case !offered:
			return verdict{false, "none", noTLS}
		case c.server == "expired":
			return verdict{false, "none", tlsrpt.CertificateExpired}
		case c.server == "wrong name":
			return verdict{false, "none", tlsrpt.HostMismatch}
		case c.server == "self-signed":
			return verdict{false, "none", tlsrpt.NotTrusted}
		default:
			return verdict{true, "mta-sts", tlsrpt.Success}
		}
	}
	switch {
	case offered: // RFC 7435 section 3
		return verdict{true, "encrypted", tlsrpt.Success}
	case set == "unusable": // RFC 7672 section 2.1.1: TLS is required
		return verdict{false, "none", noTLS}
	default:
		return verdict{true, "none", tlsrpt.Success}
	}
}

// grid is the matrix as an internet.
type grid struct {
	*world
	hosts map[string]*smtptest.Host
	zone  strings.Builder
	later strings.Builder // TXT records that are gone when mail is sent
	cells []cell
	names []string // of the cells' domains
}

// place adds a host to the internet, and returns its name.
func (g *grid) place(n int, p *place) string {
	name, base := fmt.Sprintf("h%d.h.test", n), ""
	g.net.Signed[name] = p.address
	addressAt := name
	if p.alias != "no alias" {
		addressAt = fmt.Sprintf("t%d.k.test", n)
		g.net.Signed[name], g.net.Signed[addressAt] = p.alias == "secure alias", p.address
		fmt.Fprintf(&g.zone, "%s. CNAME %s.\n", name, addressAt)
	}
	fmt.Fprintf(&g.zone, "%s. A 198.18.%d.%d\n", addressAt, n/200, n%200+1)
	g.net.Servers[fmt.Sprintf("198.18.%d.%d", n/200, n%200+1)] = g.hosts[p.server]
	usable := tlsa(g.hosts["right"].TLS.Certificates[0])
	if h := g.hosts[p.server]; p.server != "wrong" && p.server != "absent" && p.server != "broken" {
		usable = tlsa(h.TLS.Certificates[0])
	}
	for _, owner := range []string{name, addressAt} {
		if owner == base {
			break
		}
		base = owner
		at := "_25._tcp." + owner
		g.net.Signed[at] = p.records != "insecure" && g.net.Signed[owner]
		switch p.records {
		case "usable", "insecure":
			fmt.Fprintf(&g.zone, "%s. %s\n", at, usable)
		case "unusable":
			fmt.Fprintf(&g.zone, "%s. %s\n", at, unusable)
		case "mixed":
			fmt.Fprintf(&g.zone, "%s. %s\n%s. %s\n", at, unusable, at, usable)
		case "failed":
			g.net.Rules = append(g.net.Rules, mxtest.Rule{Name: at, Type: mx.TypeTLSA, Fault: mxtest.ServFail})
		}
	}
	return name
}

// domain adds a domain with a host.
func (g *grid) domain(c cell, host string) {
	n := len(g.cells)
	name := fmt.Sprintf("c%d.test", n)
	g.cells, g.names = append(g.cells, c), append(g.names, name)
	g.net.Signed[name] = c.mx
	fmt.Fprintf(&g.zone, "%s. MX 10 %s.\n", name, host)
	if c.policy == "no policy" {
		return
	}
	fmt.Fprintf(&g.zone, "mta-sts.%s. A 203.0.113.1\n", name)
	text := &g.zone
	if c.policy == "cached" {
		text = &g.later
	}
	fmt.Fprintf(text, "_mta-sts.%s. TXT \"v=STSv1; id=1;\"\n", name)
	switch c.policy {
	case "testing":
		g.web.set(name, "testing", "other.test")
	case "mismatch":
		g.web.set(name, "enforce", "other.test")
	case "enforce", "cached":
		g.web.set(name, "enforce", host)
	}
}

// theHosts are those of the axis of servers.
func (g *grid) theHosts() {
	old := &x509.Certificate{NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(1991, 1, 1, 0, 0, 0, 0, time.UTC)}
	stranger, err := smtptest.NewAuthority()
	if err != nil {
		g.t.Fatal(err)
	}
	selfSigned, err := stranger.Certificate("*.h.test")
	if err != nil {
		g.t.Fatal(err)
	}
	for server, c := range map[string]tls.Certificate{
		"right": g.certificate("*.h.test"), "wrong": g.certificate("*.h.test"), "expired": g.certificateFor(old, "*.h.test"),
		"wrong name": g.certificate("*.other.test"), "self-signed": selfSigned, "absent": g.certificate("*.h.test"), "broken": g.certificate("*.h.test"),
	} {
		g.hosts[server] = g.host(server+".unused.test", c)
		delete(g.net.Hosts, server+".unused.test")
	}
	g.hosts["absent"].Extensions = []string{"PIPELINING"}
	g.hosts["broken"].Script = []smtptest.Cue{{At: smtptest.Handshake, Then: smtptest.Close}}
}

// TestMatrix sends to every cell, in an order of chance and each twice, so that sessions
// are kept that another domain's policy was made for, and compares with the oracle.
func TestMatrix(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		g := &grid{world: w, hosts: make(map[string]*smtptest.Host)}
		g.theHosts()
		n := 0
		for _, alias := range aliases {
			for _, records := range records {
				for _, server := range servers {
					for _, address := range []bool{true, false} {
						p := place{alias, records, server, address}
						host := g.place(n, &p)
						n++
						for _, policy := range policies {
							g.domain(cell{p, true, policy}, host)
							g.domain(cell{p, false, policy}, host)
						}
					}
				}
			}
		}
		w.net.DNS().Validates = true
		w.start(g.zone.String(), g.later.String())
		w.sender.MaxIdle = 1000
		for i := range g.cells {
			if g.cells[i].policy == "cached" {
				if found := w.source.MTASTS.Find(t.Context(), g.names[i]); found.Origin != mtasts.Fetched {
					t.Fatalf("%v", found.Err)
				}
			}
		}
		w.zone(g.zone.String())
		random := rand.New(rand.NewPCG(1, 2))
		reused := 0
		for range 2 {
			for _, i := range random.Perm(len(g.cells)) {
				m := message("u@" + g.names[i])
				m.From = g.names[i] + "@from.test"
				r := w.sendMessage(m).Recipients[0]
				got := verdict{r.Outcome == queue.Delivered, r.TLS.String(), tlsrpt.Success}
				if !got.delivered && r.Decision != nil {
					got.result = r.Decision.Result
				}
				if n := len(r.Attempts); n > 0 && r.Attempts[n-1].Reused {
					reused++
				}
				if want := oracle(&g.cells[i]); got != want {
					t.Errorf("%+v: %+v, want %+v (%v)", g.cells[i], got, want, r.Err)
				}
				if d := r.Decision; d == nil || d.Domain != g.names[i] {
					t.Errorf("%+v: the decision is for another domain: %v", g.cells[i], d)
				}
				if t.Failed() {
					t.FailNow()
				}
			}
		}
		kept := make(map[string]bool) // whose mail must not go
		for i := range g.cells {
			kept["MAIL FROM:<"+g.names[i]+"@from.test>"] = !oracle(&g.cells[i]).delivered
		}
		for server, h := range g.hosts {
			for _, line := range h.Commands() {
				if from, _, _ := strings.Cut(line, " SIZE"); kept[from] {
					t.Errorf("%s had %s", server, line)
				}
			}
		}
		t.Logf("%d cells, each twice, %d of these over sessions that were kept", len(g.cells), reused)
	})
}
