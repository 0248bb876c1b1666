package delivery_test

import (
	"fmt"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestDecide goes through every sequence of up to five verdicts and holds the
// outcome against the rule in words: what is there at all decides.
func TestDecide(t *testing.T) {
	all := []delivery.Verdict{
		delivery.NotNow, delivery.HostRefuses, delivery.Refused, delivery.MaybeTaken, delivery.Taken,
	}
	t.Run("FAULTS 1: delivered > unknown > refused > temporary > host refuses", func(t *testing.T) {
		sequences := 0
		var extend func(prefix []delivery.Verdict)
		extend = func(prefix []delivery.Verdict) {
			sequences++
			if got, want := delivery.Decide(prefix...), inWords(prefix); got != want {
				t.Errorf("Decide(%v) = %v, want %v", prefix, got, want)
			}
			if len(prefix) == 5 {
				return
			}
			for _, v := range all {
				extend(append(prefix[:len(prefix):len(prefix)], v))
			}
		}
		extend(nil)
		if want := 1 + 5 + 25 + 125 + 625 + 3125; sequences != want {
			t.Fatalf("went through %d sequences, want %d", sequences, want)
		}
	})
}

// inWords is the rule said another way.
func inWords(vs []delivery.Verdict) queue.Outcome {
	has := func(w delivery.Verdict) bool {
		for _, v := range vs {
			if v == w {
				return true
			}
		}
		return false
	}
	switch {
	case has(delivery.Taken):
		return queue.Delivered
	case has(delivery.MaybeTaken):
		return queue.Unknown
	case has(delivery.Refused):
		return queue.Failed
	case has(delivery.NotNow), len(vs) == 0:
		return queue.Deferred
	default:
		return queue.Failed
	}
}

// TestJudge goes through every stage and every reply code from 200 to 599.
func TestJudge(t *testing.T) {
	type row struct {
		name  string
		stage delivery.Stage
		codes [2]int // from, to
		want  delivery.Verdict
	}
	credentials := map[int]bool{530: true, 534: true, 535: true, 538: true}
	rows := []row{
		{"SMTP-2 greeting 5yz speaks for the host", delivery.StageBanner, [2]int{500, 599}, delivery.HostRefuses},
		{"SMTP-2 greeting 4yz is for now", delivery.StageBanner, [2]int{400, 499}, delivery.NotNow},
		{"EHLO 5yz speaks for the host", delivery.StageHello, [2]int{500, 599}, delivery.HostRefuses},
		{"TLS-4 STARTTLS 5yz is for now", delivery.StageStartTLS, [2]int{500, 599}, delivery.NotNow},
		{"AUTH 5yz is for now", delivery.StageAuth, [2]int{500, 599}, delivery.NotNow},
		{"SMTP-22 MAIL 5yz is firm", delivery.StageMail, [2]int{500, 599}, delivery.Refused},
		{"MX-22 RCPT 5yz is firm", delivery.StageRcpt, [2]int{500, 599}, delivery.Refused},
		{"MX-22 RCPT 4yz is for now", delivery.StageRcpt, [2]int{400, 499}, delivery.NotNow},
		{"DATA 5yz is firm", delivery.StageData, [2]int{500, 599}, delivery.Refused},
		{"SMTP-27 final 5yz is firm", delivery.StageContent, [2]int{500, 599}, delivery.Refused},
		{"SMTP-27 final 4yz is for now", delivery.StageContent, [2]int{400, 499}, delivery.NotNow},
		{"SMTP-16 any 2yz after the content is success", delivery.StageContent, [2]int{200, 299}, delivery.Taken},
		{"SMTP-17 3yz after the content makes no sense", delivery.StageContent, [2]int{300, 399}, delivery.NotNow},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			for code := r.codes[0]; code <= r.codes[1]; code++ {
				want := r.want
				lost := r.stage >= delivery.StageMail && r.stage <= delivery.StageData && code == 503
				if lost || credentials[code] {
					want = delivery.NotNow
				}
				if got := delivery.Judge(r.stage, code, ""); got != want {
					t.Errorf("Judge(%v, %d) = %v, want %v", r.stage, code, got, want)
				}
			}
		})
	}
	for stage := delivery.StageBanner; stage <= delivery.StageContent; stage++ {
		for _, status := range []string{"5.7.8", "5.7.9", "5.7.10", "5.7.11"} {
			t.Run("QUE-15 550 "+status+" is about the login, at "+stage.String(), func(t *testing.T) {
				if got := delivery.Judge(stage, 550, status); got != delivery.NotNow {
					t.Error(got)
				}
				e := &delivery.Error{Stage: stage, Code: 550, Lines: []string{status + " no"}, Enhanced: status}
				if !e.LoginRefused() {
					t.Error("not known for one")
				}
			})
		}
	}
	for _, status := range []string{"5.7.1", "5.7.13", "5.7.80", "5.1.1"} {
		if got := delivery.Judge(delivery.StageRcpt, 550, status); got != delivery.Refused {
			t.Errorf("550 %s is %v", status, got)
		}
	}
	t.Run("nothing but a 2yz after the content is success", func(t *testing.T) {
		for stage := delivery.StageMessage; stage <= delivery.StageContent; stage++ {
			for code := -1; code < 1000; code++ {
				if got := delivery.Judge(stage, code, ""); got == delivery.Taken &&
					(stage != delivery.StageContent || code/100 != 2) {
					t.Errorf("Judge(%v, %d) = %v", stage, code, got)
				}
			}
		}
	})
}

func ExampleDecide() {
	fmt.Println(delivery.Decide(delivery.HostRefuses, delivery.NotNow))
	fmt.Println(delivery.Decide(delivery.HostRefuses, delivery.HostRefuses))
	fmt.Println(delivery.Decide(delivery.NotNow, delivery.Taken))
	// Output:
	// deferred
	// failed
	// delivered
}
