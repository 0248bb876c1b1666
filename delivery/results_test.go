package delivery

import (
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
)

// TestNumbers: what the package's users see has the numbers of what it is made
// from, since one is converted into the other.
func TestNumbers(t *testing.T) {
	for public, inner := range map[Stage]attempt.Stage{
		StageMessage: attempt.StageMessage, StageDNS: attempt.StageDNS, StageConnect: attempt.StageConnect,
		StageBanner: attempt.StageBanner, StageHello: attempt.StageHello, StageStartTLS: attempt.StageStartTLS,
		StageAuth: attempt.StageAuth, StageMail: attempt.StageMail, StageRcpt: attempt.StageRcpt,
		StageData: attempt.StageData, StageContent: attempt.StageContent,
	} {
		if Stage(inner) != public {
			t.Errorf("stage %v is %d there and %d here", public, inner, public)
		}
	}
	for public, inner := range map[Verdict]attempt.Verdict{
		NotNow: attempt.NotNow, HostRefuses: attempt.HostRefuses, Refused: attempt.Refused,
		MaybeTaken: attempt.MaybeTaken, Taken: attempt.Taken,
	} {
		if Verdict(inner) != public || inner.Final() != public.Final() {
			t.Errorf("verdict %v is %d there and %d here", public, inner, public)
		}
	}
	for public, inner := range map[Next]attempt.Next{
		NextAddress: attempt.NextAddress, NextHost: attempt.NextHost, SameHost: attempt.SameHost,
		InClear: attempt.InClear, StopSettled: attempt.StopSettled, StopUnknown: attempt.StopUnknown,
		StopHosts: attempt.StopHosts, StopLimit: attempt.StopLimit, StopCanceled: attempt.StopCanceled,
		NextFallback: attempt.NextFallback,
	} {
		if Next(inner) != public {
			t.Errorf("step %v is %d there and %d here", public, inner, public)
		}
	}
}

// TestResultsShare: recipients that travelled together share their attempts, and
// attempts their errors, so that a report on fifty thousand is not fifty thousand
// times as long.
func TestResultsShare(t *testing.T) {
	down, full := &attempt.Failure{Host: "a.test"}, &attempt.Failure{Host: "b.test"}
	common := []attempt.Attempt{{Err: down}, {Err: full}}
	list := []attempt.Result{
		{Err: full, Attempts: common, Shared: true},
		{Err: down, Attempts: []attempt.Attempt{{Err: down}}},
		{Err: full, Attempts: common, Shared: true},
		{Attempts: []attempt.Attempt{{Verdict: attempt.Taken}}},
	}
	report := &Report{Recipients: make([]RecipientReport, len(list))}
	new(results).report(report, list)
	r := report.Recipients
	if &r[0].Attempts[0] != &r[2].Attempts[0] || len(r[2].Attempts) != 2 {
		t.Error("two that travelled together have attempts of their own")
	}
	if r[1].Err == nil || r[1].Err != r[0].Attempts[0].Err || r[1].Err != r[1].Attempts[0].Err {
		t.Error("one failure became several errors")
	}
	if r[0].Err != r[2].Err || r[0].Err == r[1].Err || r[0].Err.Host != "b.test" {
		t.Errorf("errors %v and %v, want the one of b.test", r[0].Err, r[2].Err)
	}
	if r[3].Err != nil || r[3].Attempts[0].Err != nil || r[3].Attempts[0].Verdict != Taken {
		t.Errorf("one that was taken has %+v", r[3])
	}
}
