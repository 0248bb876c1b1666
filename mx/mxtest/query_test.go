package mxtest_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

func TestQueriesAreWrittenDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		d := &mxtest.DNS{Zone: wireZone}
		q := query("E.Test.", dns.TypeMX, 1400)
		q.AuthenticatedData, q.CheckingDisabled = true, true
		_, _ = messages(t, d, "udp", q)
		q = query("nobody.test.", 99, 0)
		q.SetEdns0(4096, true)
		q.RecursionDesired = false
		_, _ = messages(t, d, "tcp", q)
		if _, err := d.Resolve(t.Context(), "www.e.test", mx.TypeA); err != nil {
			t.Fatal(err)
		}
		want := []mxtest.Query{
			{Name: "e.test", Type: mx.TypeMX, Transport: "udp", Server: "192.0.2.53:53", Client: "memory",
				ID: 4711, RD: true, CD: true, AD: true, UDPSize: 1400, At: began},
			{Name: "nobody.test", Type: 99, Transport: "tcp", Server: "192.0.2.53:53", Client: "memory",
				ID: 4711, DO: true, UDPSize: 4096, At: began.Add(time.Minute)},
			{Name: "www.e.test", Type: mx.TypeA, At: began.Add(2 * time.Minute)},
		}
		if got := d.Queries(); !reflect.DeepEqual(got, want) {
			t.Errorf("queries are\n%+v, want\n%+v", got, want)
		}
		for q, want := range map[mxtest.Query]int{
			{Name: "e.test", Type: mx.TypeMX}:    1,
			{Name: "E.TEST.", Type: 0}:           1,
			{Name: "e.test", Type: mx.TypeA}:     0,
			{Name: "www.e.test", Type: 0}:        1,
			{Name: "mx1.e.test", Type: 0}:        0, // where an alias led was not asked
			{Name: "nobody.test", Type: 99}:      1,
			{Name: "nobody.test", Type: 100}:     0,
			{Name: "never.test", Type: mx.TypeA}: 0,
		} {
			if got := d.Count(q.Name, q.Type); got != want {
				t.Errorf("counted %d questions for %v of %s, want %d", got, q.Type, q.Name, want)
			}
		}
		d.Forget()
		if len(d.Queries()) != 0 || d.Count("e.test", mx.TypeMX) != 0 {
			t.Error("Forget forgets nothing")
		}
	})
}

func TestCountBeforeTheFirstQuestion(t *testing.T) {
	d := new(mxtest.DNS)
	d.Forget()
	if n := d.Count("e.test", mx.TypeMX); n != 0 {
		t.Errorf("counted %d questions before the first", n)
	}
}

func TestFakeEndsWithItsContext(t *testing.T) {
	d := &mxtest.DNS{Rules: []mxtest.Rule{{Fault: mxtest.Timeout}}, Timeout: time.Hour}
	check := func(t *testing.T, err, cause error) {
		t.Helper()
		re, ok := errors.AsType[*mx.ResolveError](err)
		if !ok || re.Kind != mx.Canceled || !errors.Is(err, cause) {
			t.Errorf("error is %v, want %v in a *mx.ResolveError of kind %v", err, cause, mx.Canceled)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := d.Resolve(ctx, "e.test", mx.TypeMX)
		check(t, err, context.DeadlineExceeded)
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %v, want 1s", took)
		}
		if d.Count("e.test", mx.TypeMX) != 1 {
			t.Error("the question does not count")
		}
		_, err = d.Resolve(ctx, "f.test", mx.TypeMX)
		check(t, err, context.DeadlineExceeded)
		if d.Count("f.test", mx.TypeMX) != 0 {
			t.Error("a question counts that came too late")
		}
	})
}
