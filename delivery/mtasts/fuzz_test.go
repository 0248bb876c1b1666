package mtasts_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
)

// FuzzPolicy: whatever a policy is, it is refused with a reason, or means the same when
// it is written again without what is odd.
func FuzzPolicy(f *testing.F) {
	f.Add(goodPolicy)
	f.Add("\ufeffversion: STSv1\r\nmode: none\r\n\r\nmax_age: 99999999999\r\nmax_age: 1")
	f.Add("version: STSv1\nmode: testing\nmx: *.M\u00dcller.test.\n mx : b.test\nmax_age: 0\nx: \u00fc:")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := mtasts.ParsePolicy([]byte(text))
		if err != nil {
			if e, ok := errors.AsType[*mtasts.Error](err); !ok || e.Type != mtasts.PolicyInvalid || e.ReasonCode() == "" {
				t.Errorf("error is %#v", err)
			}
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("the error is not for people: %q", err)
			}
			return
		}
		if p.MaxAge < 0 || p.MaxAge.Hours() > 24*366 || p.Mode > mtasts.Enforce || p.Mode != mtasts.None && len(p.MX) == 0 {
			t.Errorf("policy is %+v", p)
		}
		again, err := mtasts.ParsePolicy([]byte(strings.Join(p.Lines, "\n")))
		if err != nil || again.Mode != p.Mode || again.MaxAge != p.MaxAge || !slices.Equal(again.MX, p.MX) {
			t.Errorf("written again it is %+v, %v; want %+v", again, err, p)
		}
		for _, pattern := range p.MX {
			host := strings.Replace(pattern, "*", "a", 1)
			if !p.Matches(host) {
				t.Errorf("%q does not match %q", pattern, host)
			}
			if p.Matches("") {
				t.Error("no name at all matches")
			}
		}
	})
}

// FuzzRecord: whatever records there are, an id is one that may stand in a record alone.
func FuzzRecord(f *testing.F) {
	f.Add("v=STSv1; id=1", "v=spf1 -all")
	f.Add("v=STSv1;x;id = 2026 ;", "")
	f.Fuzz(func(t *testing.T, first, second string) {
		id, ok, why := mtasts.ParseRecord([]string{first, second})
		if ok != (why == "") || ok != (id != "") {
			t.Errorf("id is %q, %v, %q", id, ok, why)
		}
		if !ok {
			return
		}
		if again, ok, _ := mtasts.ParseRecord([]string{"v=STSv1; id=" + id}); !ok || again != id {
			t.Errorf("the id %q alone is %q, %v", id, again, ok)
		}
		if _, ok, _ := mtasts.ParseRecord([]string{first, second, "v=STSv1; id=1"}); ok {
			t.Error("several records have an id")
		}
	})
}
