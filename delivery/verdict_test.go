package delivery_test

import (
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
)

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
