package smtptest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

const zone = `
	$ORIGIN example.com.
	@    MX   10 mx1
	@    MX   20 mx2
	mx1  A    192.0.2.1
	mx1  AAAA 2001:db8::1
	mx2  A    192.0.2.2
`

func TestInternet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := &smtptest.Host{}, &smtptest.Host{Name: "other.example", Extensions: []string{"STARTTLS"}}
		in := (&smtptest.Internet{
			Zone:  zone,
			Rules: []mxtest.Rule{{Name: "mx2.example.com", Fault: mxtest.ServFail}},
			Hosts: map[string]*smtptest.Host{"mx1.example.com": first, "mx2.example.com": second, "mx1.example.com:587": {}},
			Links: map[string]smtptest.Link{"mx1.example.com": {Latency: time.Second}},
		}).Start(t)
		answer, err := in.Resolve(t.Context(), "example.com", mx.TypeMX)
		if err != nil || len(answer.MX) != 2 {
			t.Fatalf("answer %+v, %v", answer, err)
		}
		if _, err := in.Resolve(t.Context(), "mx2.example.com", mx.TypeA); err == nil {
			t.Error("the rule was not applied")
		}
		if n := in.DNS().Count("example.com", mx.TypeMX); n != 1 {
			t.Errorf("%d MX queries, want one: placing hosts must ask none", n)
		}
		for _, at := range []string{"192.0.2.1:25", "[2001:db8::1]:25", "192.0.2.1:587", "192.0.2.2:25"} {
			began := time.Now()
			conn, err := in.DialContext(t.Context(), "tcp", at)
			if err != nil {
				t.Fatal(err)
			}
			name, took := "mx1.example.com", 2*time.Second
			if strings.HasPrefix(at, "192.0.2.2") {
				name, took = "other.example", 0
			}
			if got := time.Since(began); got != took {
				t.Errorf("dialling %s took %v", at, got)
			}
			converse(t, conn, "S: 220 "+name+" ESMTP\nC: QUIT\nS: 221 2.0.0 bye\nEOF")
			conn.Close()
		}
		want := []string{"mx1.example.com", "mx1.example.com", "mx1.example.com:587", "mx2.example.com"}
		if got := in.Visits(); !slices.Equal(got, want) {
			t.Errorf("visits %q, want %q", got, want)
		}
		if in.Authority == nil || second.Authority != in.Authority || first.Authority != nil {
			t.Error("certificates: want one authority, for the host that needs it")
		}
		in.Check(t)
	})
}

func TestInternetCutByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := (&smtptest.Internet{Zone: zone, Hosts: map[string]*smtptest.Host{"mx1.example.com": {}, "mx2.example.com": {}}}).Start(t)
		reaches := func(at string) bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			conn, err := in.DialContext(ctx, "tcp", at)
			if err == nil {
				conn.Close()
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("dialling %s: %v", at, err)
			}
			return err == nil
		}
		if err := in.Cut("mx1.example.com"); err != nil {
			t.Fatal(err)
		}
		if reaches("192.0.2.1:25") || reaches("[2001:db8::1]:25") || !reaches("192.0.2.2:25") {
			t.Error("want mx1 cut off and mx2 not")
		}
		if err := in.Heal("mx1.example.com"); err != nil || !reaches("192.0.2.1:25") {
			t.Errorf("want mx1 back: %v", err)
		}
		if err := in.SetLink("mx2.example.com", smtptest.Link{Fault: smtptest.BlackHole}); err != nil || reaches("192.0.2.2:25") {
			t.Errorf("want mx2 a black hole: %v", err)
		}
		if err := in.Cut("mx9.example.com"); err == nil {
			t.Error("a host that does not exist was cut off")
		}
	})
}

func TestInternetWithMistakes(t *testing.T) {
	for name, in := range map[string]*smtptest.Internet{
		"zone text":            {Zone: "@ MX mail"},
		"host without address": {Zone: zone, Hosts: map[string]*smtptest.Host{"mx9.example.com": {}}},
		"port":                 {Zone: zone, Hosts: map[string]*smtptest.Host{"mx1.example.com:smtp": {}}},
		"link":                 {Zone: zone, Links: map[string]smtptest.Link{"mx9.example.com": {}}},
		"server":               {Zone: zone, Servers: map[string]smtptest.Server{"mx1": &smtptest.Host{}}},
	} {
		t.Run(name, func(t *testing.T) {
			if in.Open() == nil {
				t.Error("opened")
			}
			if _, err := in.DialContext(t.Context(), "tcp", "192.0.2.1:25"); err == nil {
				t.Error("dialled")
			}
			if _, err := in.Resolve(t.Context(), "example.com", mx.TypeMX); err == nil {
				t.Error("resolved")
			}
			in.Close()
		})
	}
}
