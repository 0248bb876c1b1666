package delivery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// groupCase is a message through a primary that handles groups and chunks badly.
type groupCase struct {
	name       string
	extensions []string
	script     []smtptest.Cue
	window     int
	recipients int // 0 is two
	content    string
	want       []queue.Outcome // of the first recipients; nil is all delivered
	host       string          // that decided for the first; empty is the primary
	took       time.Duration   // at least
}

func groupCases() []groupCase {
	pipelining, chunking := []string{"PIPELINING"}, []string{"PIPELINING", "CHUNKING"}
	long := text + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 10_000)
	refuseAll := smtptest.Cue{At: smtptest.Rcpt, Reply: "550 5.1.1 no"}
	failed := []queue.Outcome{queue.Failed, queue.Failed}
	const mx2 = "mx2.e.test"
	return []groupCase{
		{name: "EXT-9 every RCPT refused, 354 to DATA, 250 to the lone dot", extensions: pipelining, want: failed,
			script: []smtptest.Cue{refuseAll, {At: smtptest.Data, Reply: "354 go ahead"}, {At: smtptest.Final, Reply: "250 2.0.0 thanks"}}},
		{name: "EXT-9 every RCPT refused, 354 to DATA, 554 to the lone dot", extensions: pipelining, want: failed,
			script: []smtptest.Cue{refuseAll, {At: smtptest.Data, Reply: "354 go ahead"}}},
		{name: "EXT-9 every RCPT refused, DATA, too", extensions: pipelining, want: failed, script: []smtptest.Cue{refuseAll}},
		{name: "EXT-9 every RCPT refused, BDAT, too", extensions: chunking, want: failed, script: []smtptest.Cue{refuseAll}},
		{name: "SMTP-23, EXT-8 one RCPT refused", extensions: pipelining, want: []queue.Outcome{queue.Failed, queue.Delivered},
			script: []smtptest.Cue{{At: smtptest.Rcpt, Nth: 1, Reply: "550-5.1.1 no\n550 5.1.1 such user"}}},
		{name: "EXT-9 MAIL lost", extensions: pipelining, host: mx2, script: []smtptest.Cue{{At: smtptest.Mail, Then: smtptest.Skip}}, took: 2 * time.Minute},
		{name: "EXT-9 every RCPT lost", extensions: pipelining, host: mx2, script: []smtptest.Cue{{At: smtptest.Rcpt, Then: smtptest.Skip}}, took: 2 * time.Minute},
		{name: "EXT-9 the first RCPT lost", extensions: pipelining, host: mx2, script: []smtptest.Cue{{At: smtptest.Rcpt, Nth: 1, Then: smtptest.Skip}}},
		{name: "EXT-9 the last RCPT lost", extensions: pipelining, host: mx2, script: []smtptest.Cue{{At: smtptest.Rcpt, Nth: 2, Then: smtptest.Skip}}},
		{name: "EXT-9 DATA lost", extensions: pipelining, host: mx2, script: []smtptest.Cue{{At: smtptest.Data, Then: smtptest.Skip}}, took: 2 * time.Minute},
		{name: "EXT-8 a late reply to all at once", extensions: pipelining, script: []smtptest.Cue{{At: smtptest.Mail, Delay: 4 * time.Minute}}, took: 4 * time.Minute},
		{name: "SMTP-37 each of 100 RCPT answered after a minute", extensions: pipelining, recipients: 100,
			script: []smtptest.Cue{{At: smtptest.Rcpt, Delay: time.Minute}}, took: 100 * time.Minute},
		{name: "EXT-8 replies octet by octet", extensions: pipelining,
			script: []smtptest.Cue{{At: smtptest.Mail, Reply: "250-2.1.0 a\n250 2.1.0 b", Drip: time.Second}, {At: smtptest.Rcpt, Reply: "250 2.1.5 ok", Drip: time.Second}}},
		{name: "EXT-14 BDAT refused for good mid-way", extensions: chunking, content: long, want: failed,
			script: []smtptest.Cue{{At: smtptest.Chunk, Nth: 1, Reply: "552 5.3.4 too big"}}},
		{name: "EXT-14 BDAT refused for now mid-way", extensions: chunking, content: long, host: mx2,
			script: []smtptest.Cue{{At: smtptest.Chunk, Nth: 1, Reply: "452 4.3.1 full"}}},
		{name: "EXT-13 CHUNKING offered, 500 to BDAT", extensions: chunking, script: []smtptest.Cue{{At: smtptest.Chunk, Conn: 1, Reply: "500 5.5.1 what"}}},
		{name: "EXT-10 a group larger than the window", extensions: pipelining, recipients: 2000, window: 8 << 10},
		{name: "EXT-10 replies that nobody can read in time", extensions: pipelining, recipients: 1000, window: 8 << 10,
			script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: smtptest.Lines(250, 20, "2.1.5 this takes a while to say")}}},
		{name: "EXT-10 chunks larger than the window", extensions: chunking, content: long, window: 500},
		{name: "SMTP-27 a 5yz during our write", extensions: pipelining, content: long, want: failed,
			script: []smtptest.Cue{{At: smtptest.Content, After: 1000, Reply: "552 5.3.4 too big", Then: smtptest.Reset}}},
		{name: "SMTP-27 a 4yz during our write", extensions: pipelining, content: long, host: mx2,
			script: []smtptest.Cue{{At: smtptest.Content, After: 1000, Reply: "452 4.3.1 full", Then: smtptest.Reset}}},
		{name: "SMTP-19 a 421 during our write", extensions: chunking, content: long, host: mx2,
			script: []smtptest.Cue{{At: smtptest.Content, After: 1000, Reply: "421 4.3.2 closing", Then: smtptest.Close}}},
		{name: "SMTP-39 content read at 64 KiB in 170 s", extensions: pipelining, content: long,
			script: []smtptest.Cue{{At: smtptest.Content, Every: 64 << 10, Delay: 170 * time.Second}}, took: 10 * 170 * time.Second},
		{name: "SMTP-39 content that nobody reads for 181 s", extensions: pipelining, content: long, host: mx2,
			script: []smtptest.Cue{{At: smtptest.Content, After: 1000, Delay: 10 * time.Minute}}, took: 3 * time.Minute},
	}
}

// TestGroupsAndChunks is what can go wrong with PIPELINING and CHUNKING.
func TestGroupsAndChunks(t *testing.T) {
	for _, c := range groupCases() {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playGroup(t, &c) })
		})
	}
}

func playGroup(t *testing.T, c *groupCase) {
	primary, secondary := &smtptest.Host{Extensions: c.extensions, Script: c.script}, &smtptest.Host{}
	in := (&smtptest.Internet{
		Zone:   "$ORIGIN e.test.\n@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 192.0.2.1\nmx2 A 192.0.2.2",
		Hosts:  map[string]*smtptest.Host{"mx1.e.test": primary, "mx2.e.test": secondary},
		Window: c.window,
	}).Start(t)
	sender := &delivery.Sender{Hello: "from.test", Resolver: in, Dial: in.DialContext}
	m := message()
	for i := range max(2, c.recipients) {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("u%063d@e.test", i)})
	}
	if c.content != "" {
		m.Content = queue.String(c.content)
	}
	began := time.Now()
	report := sendContext(t, t.Context(), sender, m)
	took := time.Since(began)
	sender.Close()

	want := c.want
	if want == nil {
		want = slices.Repeat([]queue.Outcome{queue.Delivered}, len(m.Recipients))
	}
	host := c.host
	if host == "" {
		host = "mx1.e.test"
	}
	for i, o := range want {
		if r := &report.Recipients[i]; r.Outcome != o || r.Host != host {
			t.Fatalf("%s: %v by %s (%v), want %v by %s", r.Address, r.Outcome, r.Host, r.Err, o, host)
		}
	}
	if took < c.took || took > c.took+10*time.Minute {
		t.Errorf("took %v, want %v or a little more", took, c.took)
	}
	in.Check(t)
	for _, h := range in.Hosts {
		for _, got := range h.Messages() {
			if len(got.Recipients) > 0 && c.content != "" && string(got.Content) != c.content {
				t.Errorf("%d octets arrived, want %d", got.Size, len(c.content))
			}
		}
	}
}
