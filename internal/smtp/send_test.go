package smtp_test

import (
	"fmt"
	"testing"
)

func TestSend(t *testing.T) {
	for name, ext := range modes() {
		with(t, "delivers "+name, offering(ext...), func(r *rig) {
			r.open()
			res := r.send(message("u@e.test", "v@e.test"))
			r.wantStates(res, "delivered", "delivered")
			if res.Err != nil || res.Mail.Code != 250 || res.Final.Code != 250 {
				r.t.Errorf("result %+v", res)
			}
			r.s.Quit(r.t.Context())
			got := r.host.Messages()
			if len(got) != 1 || string(got[0].Content) != hello || len(got[0].To()) != 2 {
				r.t.Errorf("the host took %+v", got)
			}
		})
	}
}

func TestFlights(t *testing.T) {
	for _, c := range []struct {
		name  string
		ext   []string
		warm  bool
		size  int
		wait  bool
		trips int
	}{
		{"CHUNKING, warm", []string{"PIPELINING", "CHUNKING"}, true, 1000, false, 1},
		{"CHUNKING, warm, 256 KiB", []string{"PIPELINING", "CHUNKING"}, true, 256 << 10, false, 1},
		{"CHUNKING, warm, more", []string{"PIPELINING", "CHUNKING"}, true, 257 << 10, false, 2},
		{"CHUNKING, warm, at most once", []string{"PIPELINING", "CHUNKING"}, true, 1000, true, 2},
		{"CHUNKING, new", []string{"PIPELINING", "CHUNKING"}, false, 1000, false, 2},
		{"PIPELINING alone, warm", []string{"PIPELINING"}, true, 1000, false, 2},
		{"neither", nil, true, 1000, false, 4},
	} {
		with(t, fmt.Sprintf("%s: %d round trips", c.name, c.trips), offering(c.ext...), func(r *rig) {
			if c.warm {
				r.warm()
			} else {
				r.open()
			}
			n := r.trips()
			tx := message("u@e.test")
			tx.Body, tx.Wait = body(make(zeros, c.size).Bytes()), c.wait
			r.wantStates(r.send(tx), "delivered")
			if d := r.trips() - n; d != c.trips {
				r.t.Errorf("%d round trips", d)
			}
		})
	}
}
