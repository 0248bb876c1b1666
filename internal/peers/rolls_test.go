//go:build linux

package peers_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// quickly is a signing policy with which keys are replaced within seconds, and the zone
// above told of it.
const quickly = `algorithm: ecdsap256sha256
dnskey-ttl: 1s
zone-max-ttl: 1s
propagation-delay: 1s
ksk-submission: itself
ds-push: itself
cds-cdnskey-publish: rollover`

// roll is a change of the keys that vouch for a zone, while mail is sent to it.
type roll struct {
	row, zone string
	begin     func(r *rolling, t *testing.T, zone string)
	last      func(first, now []string) bool // whether these are the keys at the end of it
	stages    int                            // at least so many sets of keys, the first and the last among them
}

func rolls() []roll {
	replaced := func(flags, algorithm string) func(first, now []string) bool {
		return func(first, now []string) bool {
			return len(first) == len(now) && !slices.ContainsFunc(now, func(k string) bool {
				return strings.Contains(k, flags) && (slices.Contains(first, k) || !strings.HasSuffix(k, algorithm))
			})
		}
	}
	return []roll{
		{"another key that signs the records", "zsk.test", func(r *rolling, t *testing.T, zone string) {
			peers.Control(t, r.knot, "zone-key-rollover", zone, "zsk")
		}, replaced("/256/", "/13"), 3},
		{"another key that signs the keys", "ksk.test", func(r *rolling, t *testing.T, zone string) {
			peers.Control(t, r.knot, "zone-key-rollover", zone, "ksk")
		}, replaced("/257/", "/13"), 3},
		{"another algorithm", "alg.test", (*rolling).otherAlgorithm, replaced("/", "/15"), 3},
	}
}

// rolling is signed zones of one host, and a sender to them.
type rolling struct {
	*signed
	sender *delivery.Sender
}

func startRolling(t *testing.T, zones ...string) *rolling {
	host := issue(t, nil, "mx")
	s := shown{chain: []*issued{host}, base: "mx.test"}
	_, end, err := s.speak().Listen("127.6.0.1:25")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	sum := sha256.Sum256(host.cert.RawSubjectPublicKeyInfo)
	var above string
	var all []peers.Zone
	for _, name := range zones {
		above += name + ". NS ns.test.\n"
		all = append(all, peers.Zone{
			Name: name, NS: "ns.test.", Sign: quickly, Text: "$TTL 1\n@ MX 10 mx\nmx A 127.6.0.1\n_25._tcp.mx TLSA 3 1 1 " + hex.EncodeToString(sum[:]) + "\n",
		})
	}
	r := &rolling{signed: signedRoot(t, "127.2.3", above, all...)}
	resolver := r.vouching()
	r.sender = &delivery.Sender{
		Hello: "from.test", MaxIdle: -1, Router: delivery.ByMX(&mx.Router{Resolver: resolver, AllowLoopback: true}),
		Policy: &trust.Source{Resolver: resolver, NoMTASTS: true},
	}
	t.Cleanup(func() { r.sender.Close() })
	return r
}

// send sends a message to a zone, and returns what authenticated the host; none if the
// message is kept.
func (r *rolling) send(t *testing.T, zone string) string {
	report, err := r.sender.Send(t.Context(), message(text, "u@"+zone))
	switch rr := &report.Recipients[0]; rr.Outcome {
	case queue.Delivered:
		return rr.TLS.String()
	case queue.Deferred:
		return "none"
	default:
		return fmt.Sprint(rr.Outcome, err)
	}
}

// until sends until something comes of it, and fails if it is neither that nor what was
// before.
func (r *rolling) until(t *testing.T, zone, before, after string) {
	peers.Eventually(t, zone+": "+after, func() bool {
		got := r.send(t, zone)
		if got != before && got != after {
			t.Errorf("%s: %s, want %s, and then %s", zone, got, before, after)
		}
		return got == after
	})
}

// keys are the keys of a zone, as its server has them now: tag, flags and algorithm of each.
func (r *rolling) keys(t *testing.T, zone string) (list []string) {
	for _, rr := range r.ask(t, new(dns.Msg).SetQuestion(zone+".", dns.TypeDNSKEY)).Answer {
		if k, ok := rr.(*dns.DNSKEY); ok {
			list = append(list, fmt.Sprintf("%d/%d/%d", k.KeyTag(), k.Flags, k.Algorithm))
		}
	}
	slices.Sort(list)
	return list
}

func (r *rolling) ask(t *testing.T, m *dns.Msg) *dns.Msg {
	answer, _, err := (&dns.Client{Net: "tcp"}).Exchange(m, r.signer+":53")
	if err != nil || answer.Rcode != dns.RcodeSuccess {
		t.Errorf("%v\n%v", err, answer)
		return new(dns.Msg)
	}
	return answer
}

// otherAlgorithm has a zone signed by another algorithm from now on.
func (r *rolling) otherAlgorithm(t *testing.T, zone string) {
	conf := r.knot.Path("/etc/knot/knot.conf")
	data, err := os.ReadFile(conf)
	if err != nil {
		t.Error(err)
		return
	}
	before, policies, _ := strings.Cut(string(data), "id: "+r.policy(string(data), zone)+"\n")
	changed := before + "id: " + r.policy(string(data), zone) + "\n" + strings.Replace(policies, "ecdsap256sha256", "ed25519", 1)
	if err := os.WriteFile(conf, []byte(changed), 0o644); err != nil {
		t.Error(err)
		return
	}
	peers.Control(t, r.knot, "reload")
}

// policy is the name of the signing policy of a zone in Knot's configuration.
func (*rolling) policy(conf, zone string) string {
	_, rest, _ := strings.Cut(conf, `domain: "`+zone+`"`)
	_, rest, _ = strings.Cut(rest, "dnssec-policy: ")
	name, _, _ := strings.Cut(rest, "\n")
	return name
}

// vouchedFor is what the zone above says of the key of a zone.
func (r *rolling) vouchedFor(t *testing.T, zone string) []dns.RR {
	return r.ask(t, new(dns.Msg).SetQuestion(zone+".", dns.TypeDS)).Answer
}

// vouchFor replaces what the zone above says of the key of a zone; nil says nothing.
func (r *rolling) vouchFor(t *testing.T, zone string, ds []dns.RR) {
	m := new(dns.Msg).SetUpdate(".")
	m.RemoveRRset([]dns.RR{&dns.DS{Hdr: dns.RR_Header{Name: zone + ".", Rrtype: dns.TypeDS, Class: dns.ClassINET}}})
	m.Insert(ds)
	r.ask(t, m)
}

// TestZoneRolls is a sender's view of zones whose keys Knot replaces: nothing is ever sent
// to a host that is not authenticated, at each stage mail gets through, and a zone that
// somebody has broken keeps it.
func TestZoneRolls(t *testing.T) {
	t.Parallel()
	list, zones := rolls(), []string{"bad.test", "less.test"}
	for _, c := range list {
		zones = append(zones, c.zone)
	}
	r := startRolling(t, zones...)
	for _, zone := range zones {
		peers.Eventually(t, "a DS record of "+zone, func() bool { return len(r.vouchedFor(t, zone)) > 0 })
		if got := r.send(t, zone); got != "dane" {
			t.Fatalf("%s: at first it is %s", zone, got)
		}
	}
	var wg sync.WaitGroup
	for _, c := range list {
		wg.Go(func() { r.roll(t, &c) })
	}
	wg.Go(func() { // TLS-28
		r.vouchFor(t, "less.test", nil)
		r.until(t, "less.test", "dane", "encrypted")
	})
	good := r.vouchedFor(t, "bad.test")
	wg.Go(func() { // TLS-29
		ds := dns.Copy(good[0]).(*dns.DS)
		ds.Digest = strings.Repeat("00", 32)
		r.vouchFor(t, "bad.test", []dns.RR{ds})
		r.until(t, "bad.test", "dane", "none")
	})
	wg.Wait()
	r.vouchFor(t, "bad.test", good)
	r.unbound.Stop() // it remembers for a minute that the zone is broken
	r.unbound.Restart(t)
	r.until(t, "bad.test", "none", "dane")
}

// roll has keys of a zone replaced, and sends mail to it all the while.
func (r *rolling) roll(t *testing.T, c *roll) {
	first := r.keys(t, c.zone)
	c.begin(r, t, c.zone)
	stages, kept := []string{strings.Join(first, " ")}, 0 // where mail has got through before
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		now := r.keys(t, c.zone)
		switch got := r.send(t, c.zone); got {
		case "dane":
			if stage := strings.Join(now, " "); !slices.Contains(stages, stage) && slices.Equal(now, r.keys(t, c.zone)) {
				stages = append(stages, stage)
			}
		case "none":
			kept++
		default:
			t.Errorf("TLS-27 %s: %s", c.row, got)
		}
		if c.last(first, now) && slices.Contains(stages, strings.Join(now, " ")) {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("TLS-27 %s: the keys are %v, after %v", c.row, now, stages)
			break
		}
	}
	if len(stages) < c.stages {
		t.Errorf("TLS-27 %s: mail got through at the stages %q, want %d", c.row, stages, c.stages)
	}
	t.Logf("%s: mail got through at the stages %q, %d were kept", c.row, stages, kept)
}
