package tlsrpt_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
)

func stsPolicy(domain string) *tlsrpt.Policy {
	return &tlsrpt.Policy{
		Type: tlsrpt.STS, Domain: domain, MX: []string{"*." + domain},
		Strings: []string{"version: STSv1", "mode: enforce", "mx: *." + domain, "max_age: 604800"},
	}
}

func tlsaPolicy(base string) *tlsrpt.Policy {
	return &tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: base, Strings: []string{"3 1 1 " + strings.Repeat("AB", 32)}}
}

func today() tlsrpt.Day { return tlsrpt.DayOf(time.Now()) }

// lines are tallies, a line for each and for each detail.
func lines(tallies []tlsrpt.Tally) string {
	var b strings.Builder
	for _, t := range tallies {
		fmt.Fprintf(&b, "%s %v %s: %d ok, %d failed\n", t.Domain, t.Policy.Type, t.Policy.Domain, t.Successes, t.Failures)
		for _, d := range t.Details {
			fmt.Fprintf(&b, "  %v %s %s: %d\n", d.Result, d.Host, d.Reason, d.Sessions)
		}
	}
	return b.String()
}

func TestCountsBySessionPolicyAndResult(t *testing.T) {
	var c tlsrpt.Counts
	failure := func(r tlsrpt.Result, host, reason string) tlsrpt.Failure {
		return tlsrpt.Failure{Result: r, Host: host, Reason: reason}
	}
	none := &tlsrpt.Policy{}
	// Seven sessions, the last of which two policies apply to.
	c.Add("e.test", stsPolicy("e.test"))
	c.Add("e.test", stsPolicy("e.test"))
	c.Add("e.test", stsPolicy("e.test"), failure(tlsrpt.CertificateExpired, "mx1.e.test", ""))
	c.Add("e.test", stsPolicy("e.test"), failure(tlsrpt.CertificateExpired, "mx1.e.test", ""), failure(tlsrpt.ValidationFailure, "mx1.e.test", "mx-mismatch"))
	c.Add("f.test", none)
	c.Add("f.test", none, failure(tlsrpt.StartTLSNotSupported, "mx.f.test", ""))
	c.Add("e.test", stsPolicy("e.test"))
	c.Add("e.test", tlsaPolicy("mx.e.test"), failure(tlsrpt.NotTrusted, "mx1.e.test", "tlsa-no-match"))

	const want = `e.test sts e.test: 3 ok, 2 failed
  certificate-expired mx1.e.test : 2
  validation-failure mx1.e.test mx-mismatch: 1
e.test tlsa mx.e.test: 0 ok, 1 failed
  certificate-not-trusted mx1.e.test tlsa-no-match: 1
f.test no-policy-found f.test: 1 ok, 1 failed
  starttls-not-supported mx.f.test : 1
`
	t.Run("TLS-43 one session may have several failures, and several policies", func(t *testing.T) {
		if got := lines(c.Tallies(today())); got != want {
			t.Errorf("counted is\n%swant\n%s", got, want)
		}
	})
	t.Run("TLS-43 nothing of the caller's is kept", func(t *testing.T) {
		var c tlsrpt.Counts
		p := stsPolicy("e.test")
		c.Add("e.test", p)
		p.Strings[1], p.MX[0] = "mode: none", "x"
		if got := c.Tallies(today())[0].Policy; !reflect.DeepEqual(got, *stsPolicy("e.test")) {
			t.Errorf("policy is %+v", got)
		}
	})
	t.Run("TLS-43 a policy that changes is another", func(t *testing.T) {
		var c tlsrpt.Counts
		p := stsPolicy("e.test")
		c.Add("e.test", p)
		p.Strings[1] = "mode: testing"
		c.Add("e.test", p)
		c.Add("e.test", p)
		if got, want := lines(c.Tallies(today())), "e.test sts e.test: 1 ok, 0 failed\ne.test sts e.test: 2 ok, 0 failed\n"; got != want {
			t.Errorf("counted is\n%swant\n%s", got, want)
		}
	})
	t.Run("what is no failure is a success", func(t *testing.T) {
		var c tlsrpt.Counts
		c.Add("e.test", none, failure(tlsrpt.Success, "", ""), failure(tlsrpt.Result(200), "", ""))
		if got, want := lines(c.Tallies(today())), "e.test no-policy-found e.test: 1 ok, 0 failed\n"; got != want {
			t.Errorf("counted is %q", got)
		}
	})
}

func TestCountsByDayOfUTC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c tlsrpt.Counts
		first := today()
		time.Sleep(time.Until(first.End()) + time.Second - 1)
		c.Add("e.test", &tlsrpt.Policy{})
		time.Sleep(time.Nanosecond)
		c.Add("e.test", &tlsrpt.Policy{})
		c.Add("e.test", &tlsrpt.Policy{})
		for day, want := range map[tlsrpt.Day]string{
			first - 1: "", first: "e.test no-policy-found e.test: 1 ok, 0 failed\n",
			first + 1: "e.test no-policy-found e.test: 2 ok, 0 failed\n", first + 2: "",
		} {
			if got := lines(c.Tallies(day)); got != want {
				t.Errorf("TLS-46 counted on %v is %q, want %q", day, got, want)
			}
		}
		for range 5 {
			time.Sleep(24 * time.Hour)
			c.Add("e.test", &tlsrpt.Policy{})
		}
		if got := c.Tallies(first + 1); got != nil {
			t.Errorf("the numbers of a day long past are still held: %v", got)
		}
		if got := c.Tallies(first + 5); got == nil {
			t.Error("the numbers of the day before yesterday are gone")
		}
	})
}

func TestDays(t *testing.T) {
	for text, day := range map[string]tlsrpt.Day{"1970-01-01": 0, "1969-12-31": -1, "2016-04-01": 16892} {
		got, err := tlsrpt.ParseDay(text)
		if got != day || err != nil || day.String() != text || tlsrpt.DayOf(day.Start()) != day || tlsrpt.DayOf(day.End()) != day {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	east := time.FixedZone("", 5*3600)
	if got := tlsrpt.DayOf(time.Date(2016, 4, 2, 4, 59, 59, 0, east)); got != 16892 {
		t.Errorf("an early hour in the east is of %v", got)
	}
	if got := tlsrpt.Day(16892).End().Format(time.RFC3339); got != "2016-04-01T23:59:59Z" {
		t.Error(got)
	}
	for _, text := range []string{"", "2016-4-1", "2016-02-30", "yesterday"} {
		if _, err := tlsrpt.ParseDay(text); err == nil {
			t.Errorf("%q is a day", text)
		}
	}
}

// What hosts and domains say ends up in the table, so that its size must not be theirs.
func TestStrangersCannotMakeTheCountsGrow(t *testing.T) {
	t.Run("a host with another greeting each time", func(t *testing.T) {
		var c tlsrpt.Counts
		for i := range 1000 {
			c.Add("e.test", &tlsrpt.Policy{}, tlsrpt.Failure{Result: tlsrpt.CertificateExpired, Host: "mx.e.test", Helo: fmt.Sprint(i)})
		}
		c.Add("e.test", &tlsrpt.Policy{}, tlsrpt.Failure{Result: tlsrpt.CertificateExpired, Host: "mx.e.test", Helo: "7"})
		got := c.Tallies(today())[0]
		if got.Failures != 1001 || len(got.Details) != 257 {
			t.Fatalf("%d failures in %d details", got.Failures, len(got.Details))
		}
		var sum uint64
		for _, d := range got.Details {
			sum += d.Sessions
			if d.Reason == tlsrpt.NoRoom && (d.Sessions != 1000-256 || d.Result != tlsrpt.CertificateExpired || d.Host != "") {
				t.Errorf("those without room are %+v", d)
			}
		}
		if sum != 1001 {
			t.Errorf("the details are of %d sessions", sum)
		}
	})
	t.Run("a domain with another policy each time", func(t *testing.T) {
		var c tlsrpt.Counts
		for i := range 1000 {
			c.Add("e.test", &tlsrpt.Policy{Type: tlsrpt.STS, Strings: []string{fmt.Sprint(i)}})
		}
		got := c.Tallies(today())
		var sum uint64
		for _, one := range got {
			sum += one.Successes
		}
		if len(got) != 17 || sum != 1000 {
			t.Errorf("%d policies with %d sessions", len(got), sum)
		}
	})
	t.Run("a policy without end", func(t *testing.T) {
		var c tlsrpt.Counts
		p := stsPolicy("e.test")
		p.Strings = append(p.Strings, strings.Repeat("x", 1<<16))
		c.Add("e.test", p)
		c.Add("e.test", p)
		got := c.Tallies(today())
		if len(got) != 1 || got[0].Successes != 2 || got[0].Policy.Strings != nil || got[0].Policy.Type != tlsrpt.STS {
			t.Errorf("counted is %+v", got)
		}
	})
	t.Run("words without end, and that are none", func(t *testing.T) {
		var c tlsrpt.Counts
		c.Add("e.test", &tlsrpt.Policy{}, tlsrpt.Failure{
			Result: tlsrpt.NotTrusted, Reason: strings.Repeat("é", 200), Helo: "\xff\x00mx\n", Host: strings.Repeat("x", 300),
			Info: strings.Repeat("y", 600), ReceivingIP: netip.MustParseAddr("::ffff:192.0.2.1"),
			SendingIP: netip.MustParseAddr("fe80::1%eth0"),
		})
		want := tlsrpt.Failure{
			Result: tlsrpt.NotTrusted, Reason: strings.Repeat("é", 128), Helo: "??mx?", Host: strings.Repeat("x", 255),
			Info: strings.Repeat("y", 512), ReceivingIP: netip.MustParseAddr("192.0.2.1"), SendingIP: netip.MustParseAddr("fe80::1"),
		}
		if got := c.Tallies(today())[0].Details[0].Failure; got != want {
			t.Errorf("counted is %+v", got)
		}
		c.Add(strings.Repeat("x", 300), &tlsrpt.Policy{})
		if got := c.LeftOut(today()); got != 1 {
			t.Errorf("%d sessions left out", got)
		}
	})
	t.Run("all at once", func(t *testing.T) {
		const most = 1 << 20
		c := tlsrpt.Counts{MaxBytes: most}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		sessions := 0
		for i := range 5000 {
			name := fmt.Sprintf("d%d.test", i)
			for j := range 20 {
				c.Add(name, &tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: fmt.Sprintf("mx%d.test", j), Strings: []string{fmt.Sprint(j)}},
					tlsrpt.Failure{Result: tlsrpt.Result(1 + j%11), Reason: fmt.Sprint(j)})
				sessions++
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 2*most {
			t.Errorf("%d octets are held, for %d", grown, most)
		}
		var sum, details uint64
		for _, one := range c.Tallies(today()) {
			sum += one.Failures
			for _, d := range one.Details {
				details += d.Sessions
			}
		}
		left := c.LeftOut(today())
		if sum+left != uint64(sessions) || details != sum || left == 0 || sum < uint64(sessions)/10 {
			t.Errorf("%d sessions: %d counted, %d in details, %d left out", sessions, sum, details, left)
		}
		// What is there already is counted on.
		c.Add("d0.test", &tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: "mx0.test", Strings: []string{"0"}})
		if !slices.ContainsFunc(c.Tallies(today()), func(t tlsrpt.Tally) bool { return t.Policy.Domain == "mx0.test" && t.Successes == 1 }) {
			t.Error("what has room already is not counted on")
		}
	})
}

// Whoever counts must not be held up: a success costs no memory, nor does a failure that
// was seen before.
func TestCountingAllocatesNothing(t *testing.T) {
	var c tlsrpt.Counts
	p := stsPolicy("e.test")
	expired := tlsrpt.Failure{Result: tlsrpt.CertificateExpired, Host: "mx.e.test", ReceivingIP: netip.MustParseAddr("192.0.2.1")}
	c.Add("e.test", p)
	c.Add("e.test", p, expired)
	if n := testing.AllocsPerRun(100, func() { c.Add("e.test", p) }); n != 0 {
		t.Errorf("a success costs %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { c.Add("e.test", p, expired) }); n != 0 {
		t.Errorf("a failure costs %v allocations", n)
	}
}

func TestCountingAndReadingAtTheSameTime(t *testing.T) {
	var c tlsrpt.Counts
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 500 {
				c.Add(fmt.Sprintf("d%d.test", i%2), &tlsrpt.Policy{}, tlsrpt.Failure{Result: tlsrpt.NotTrusted})
				if i == 0 {
					c.Tallies(today())
				}
			}
		})
	}
	all.Wait()
	const each = 2000
	for _, one := range c.Tallies(today()) {
		if one.Failures != each || one.Details[0].Sessions != each {
			t.Errorf("counted is %+v", one)
		}
	}
}

func TestMergeAddsWhatOthersCounted(t *testing.T) {
	var a, b, sum tlsrpt.Counts
	a.Add("e.test", stsPolicy("e.test"))
	a.Add("e.test", stsPolicy("e.test"), tlsrpt.Failure{Result: tlsrpt.NotTrusted, Reason: "x"})
	b.Add("e.test", stsPolicy("e.test"), tlsrpt.Failure{Result: tlsrpt.NotTrusted, Reason: "x"})
	b.Add("b.test", &tlsrpt.Policy{})
	for _, c := range []*tlsrpt.Counts{&a, &b} {
		sum.Merge(today(), c.Tallies(today()))
	}
	const want = "b.test no-policy-found b.test: 1 ok, 0 failed\ne.test sts e.test: 1 ok, 2 failed\n  certificate-not-trusted  x: 2\n"
	if got := lines(sum.Tallies(today())); got != want {
		t.Errorf("merged is\n%swant\n%s", got, want)
	}
	small := tlsrpt.Counts{MaxBytes: 1}
	small.Merge(today(), sum.Tallies(today()))
	if got := small.LeftOut(today()); got != 4 {
		t.Errorf("%d sessions left out", got)
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, domains := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("domains=%d", domains), func(b *testing.B) {
			var c tlsrpt.Counts
			names, policies := make([]string, domains), make([]*tlsrpt.Policy, domains)
			for i := range names {
				names[i] = fmt.Sprintf("d%d.example.com", i)
				policies[i] = stsPolicy(names[i])
				c.Add(names[i], policies[i])
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c.Add(names[i%domains], policies[i%domains])
				i++
			}
		})
	}
}
