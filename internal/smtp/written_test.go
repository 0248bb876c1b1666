package smtp_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// failing is a connection of which a write fails, and all that follow.
type failing struct {
	net.Conn
	in    int // so many writes go well; negative is all
	after int // writes after the first that failed
}

func (f *failing) Write(p []byte) (int, error) {
	if f.in == 0 {
		f.after++
		return 0, io.ErrClosedPipe
	}
	f.in--
	return f.Conn.Write(p)
}

// written lets a host be left, and be given lines of any length.
func written(h *smtptest.Host) *smtptest.Host {
	h.Allow = append(h.Allow, smtptest.RuleNoQuit, smtptest.RuleContentLine)
	return h
}

// contents are what is written in several ways: with dots, with long lines, in blocks.
func contents() map[string]string {
	line := strings.Repeat("0", 64) + "\r\n"
	long := strings.Repeat("0", 40<<10) + "\r\n"
	return map[string]string{
		"empty":                      "",
		"a line":                     "hello\r\n",
		"dots":                       ".a\r\n..\r\n.\r\n",
		"a line without an end":      "hello",
		"blocks":                     strings.Repeat(line, 3000),
		"blocks that end with a dot": strings.Repeat(line, 2000) + ".\r\n",
		"long lines with dots":       strings.Repeat("."+long+"."+long+long+"."+long, 4),
		"dots where blocks begin":    strings.Repeat("."+line[:60]+"\r\n", 10000), // 64 octets a line, with the dot more
		"many blocks":                strings.Repeat(line, 8000),
		"dots in every line":         strings.Repeat("."+line, 8000),
		"a block, but for an octet":  strings.Repeat("0", 64<<10-3) + "\r\n",
		"a block":                    strings.Repeat("0", 64<<10-2) + "\r\n",
		"CRLF across blocks":         strings.Repeat("0", 64<<10-2) + "\r\nx\r\n",
		"two blocks, CRLF across":    strings.Repeat("0", 64<<10-2) + "\r\n" + strings.Repeat("0", 64<<10-3) + "\r\n",
	}
}

// TestEachWriteFails: whichever write fails, nobody waits, and what was not sent to its
// end was not delivered.
func TestEachWriteFails(t *testing.T) {
	for mode, ext := range modes() {
		for name, text := range contents() {
			for kind, content := range map[string]smtp.Body{"in memory": body(text), "a stream": streamOf(text)} {
				for n, done := 0, false; !done && n < 200; n++ {
					with(t, fmt.Sprintf("SMTP-20 %s, %s, %s, write %d", mode, name, kind, n), written(offering(ext...)), func(r *rig) {
						f := &failing{Conn: r.tap, in: -1}
						var err error
						r.s, err = smtp.New(f, &r.cfg)
						r.must(err)
						r.open()
						f.in = n
						tx := message("u@e.test")
						tx.Body = content
						began := time.Now()
						res := r.send(tx)
						took := time.Since(began)
						got := r.host.Messages()
						if done = res.Rcpts[0].State == smtp.Delivered; done {
							want := text
							if mode != "chunked" && !strings.HasSuffix(text, "\n") && text != "" {
								want += "\r\n"
							}
							if len(got) != 1 || string(got[0].Content) != want {
								r.t.Errorf("the host took %d messages, and not what was sent", len(got))
							}
							return
						}
						if res.Rcpts[0].State != smtp.Failed || len(got) > 0 || took > 2*time.Second || r.s.Reusable() {
							r.t.Errorf("%v after %v, the host took %d messages", res.Rcpts[0].State, took, len(got))
						}
						if f.after > 1 {
							r.t.Errorf("%d writes are tried after the one that failed", f.after-1)
						}
						if res.Err == nil || res.Err.Kind != smtp.Closed && (res.Err.Kind != smtp.Timeout || res.Err.Stage > smtp.StageData) {
							r.t.Errorf("%v, want the connection to be lost", res.Err)
						}
					})
				}
			}
		}
	}
}

// TestRefusedInContent: a refusal that comes while content is written settles it,
// whenever it comes.
func TestRefusedInContent(t *testing.T) {
	for mode, ext := range modes() {
		for name, text := range contents() {
			for _, after := range []int{1, 60 << 10, 70 << 10, 130 << 10} {
				if len(text) < after+(64<<10) {
					continue
				}
				for kind, content := range map[string]smtp.Body{"in memory": body(text), "a stream": streamOf(text)} {
					host := written(scripted([]smtptest.Cue{{At: smtptest.Content, After: after, Reply: "552 5.3.4 enough", Then: smtptest.Stall}}, ext...))
					with(t, fmt.Sprintf("SMTP-27 %s, %s, %s, after %d octets", mode, name, kind, after), host, func(r *rig) {
						r.open()
						tx := message("u@e.test")
						tx.Body = content
						var res smtp.Result
						d := took(func() { res = r.send(tx) })
						rr := res.Rcpts[0]
						if rr.State != smtp.Refused || rr.Reply.Code != 552 || res.Final.Code != 552 || d > 2*time.Second {
							r.t.Errorf("%+v, %v after %v", rr, res.Err, d)
						}
						events := r.tap.Events()
						for i := len(events) - 1; i >= 0 && rr.Stage == smtp.StageContent && (events[i].Written || events[i].Octets == 0); i-- {
							if events[i].Written {
								r.t.Error("more is written once it has refused")
								break
							}
						}
						if rr.Stage == smtp.StageContent && r.s.Reusable() || len(r.host.Messages()) > 0 {
							r.t.Error("still of use, or a message")
						}
					})
				}
			}
		}
	}
}

// TestCommitIsAsked: it is asked once, before the octets that make the message, and what
// it says is done.
func TestCommitIsAsked(t *testing.T) {
	no := errors.New("no")
	for mode, ext := range modes() {
		for name, text := range contents() {
			for kind, content := range map[string]smtp.Body{"in memory": body(text), "a stream": streamOf(text)} {
				for _, answer := range []error{nil, no} {
					with(t, fmt.Sprintf("%s, %s, %s: %v", mode, name, kind, answer), written(offering(ext...)), func(r *rig) {
						r.open()
						tx, asked := message("u@e.test"), 0
						tx.Body = content
						tx.Commit = func() error {
							if asked++; len(r.host.Messages()) > 0 {
								r.t.Error("the host has it already")
							}
							return answer
						}
						res := r.send(tx)
						if answer == nil {
							r.wantStates(res, "delivered")
						} else {
							r.wantStates(res, "failed")
							if e := wantErr(r.t, res.Err, smtp.StageContent, smtp.Local); !errors.Is(e, no) || res.Doubt != (smtp.Doubt{}) {
								r.t.Errorf("%v, in doubt: %+v", e, res.Doubt)
							}
						}
						if asked != 1 || (len(r.host.Messages()) == 1) != (answer == nil) {
							r.t.Errorf("asked %d times, the host took %d messages", asked, len(r.host.Messages()))
						}
					})
				}
			}
		}
	}
}

// TestLyingStreams: a stream that is longer or shorter than announced is not sent to its
// end, and no CR goes out of which nobody knows what follows.
func TestLyingStreams(t *testing.T) {
	first := strings.Repeat("0", 64<<10-3) + "\r\n" // a part, but for its last octet
	cut := strings.Repeat("0", 64<<10-2) + "\r\n"   // of which a part ends with CR
	for name, c := range map[string]struct {
		text string
		size int
	}{
		"longer":                      {first + first + first + "\r\n..", len(first)*3 + 2},
		"longer, after CRLF at a cut": {cut + cut + ".", 2 * len(cut)},
		"shorter":                     {first + first, len(first) * 3},
		"shorter by LF, at a cut":     {cut + cut[:len(cut)-1], 2 * len(cut)},
		"shorter, after CR at a cut":  {first[:len(first)-2] + "0\r", len(first) * 3},
	} {
		for _, ext := range [][]string{nil, {"PIPELINING"}} {
			with(t, fmt.Sprintf("SMTP-27 %s, %v", name, ext), written(offering(ext...)), func(r *rig) {
				r.open()
				tx := message("u@e.test")
				tx.Body = stream{int64(c.size), func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(c.text)), nil }}
				res := r.send(tx)
				r.wantStates(res, "failed")
				wantErr(r.t, res.Err, smtp.StageContent, smtp.Local)
				if out := string(r.tap.AllWritten()); strings.HasSuffix(out, "\r") || strings.HasSuffix(out, "\r\n.\r\n") || len(r.host.Messages()) > 0 {
					r.t.Errorf("what was written ends with %q", out[len(out)-5:])
				}
			})
		}
	}
}

// TestRefusedAtOnce: a refusal that comes along with the reply to DATA keeps the content
// back, and a dot for nobody that cannot be written ends the session.
func TestRefusedAtOnce(t *testing.T) {
	with(t, "SMTP-27 354 and 552 together", written(scripted([]smtptest.Cue{{At: smtptest.Data, Raw: "354 go\r\n552 5.3.4 no\r\n", Then: smtptest.Stall}})), func(r *rig) {
		r.open()
		r.wantStates(r.send(message("u@e.test")), "refused content 552")
		if out := string(r.tap.AllWritten()); !strings.HasSuffix(out, "DATA\r\n") {
			r.t.Errorf("content went out: %q", out)
		}
	})
	with(t, "EXT-9 354 for nobody, and a dot that cannot be written", written(scripted([]smtptest.Cue{
		{At: smtptest.Rcpt, Reply: "550 no"}, {At: smtptest.Data, Reply: "354 go on"},
	}, "PIPELINING")), func(r *rig) {
		f := &failing{Conn: r.tap, in: -1}
		var err error
		r.s, err = smtp.New(f, &r.cfg)
		r.must(err)
		r.open()
		f.in = 1
		var res smtp.Result
		d := took(func() { res = r.send(message("u@e.test")) })
		if r.wantStates(res, "refused rcpt 550"); d > 2*time.Second || r.s.Reusable() {
			r.t.Errorf("%v, still of use: %t", d, r.s.Reusable())
		}
	})
	for name, c := range map[string]struct {
		refuse string
		trips  int
	}{"with a recipient": {"", 2}, "without": {"u@e.test", 1}} {
		host := written(scripted([]smtptest.Cue{
			{At: smtptest.Rcpt, Address: c.refuse, Reply: "550 no"}, {At: smtptest.Data, Nth: 1, Reply: "554 no"},
		}, "PIPELINING", "CHUNKING"))
		if c.refuse == "" {
			host.Script = host.Script[1:]
		}
		with(t, "EXT-14 content after DATA that was refused, "+name, host, func(r *rig) {
			r.warm()
			r.s.DoWithout(smtp.OptChunking)
			r.send(message("u@e.test"))
			r.s.DoWithout(0)
			n := r.trips()
			r.wantStates(r.send(message("v@e.test")), "delivered")
			if d := r.trips() - n; d != c.trips {
				r.t.Errorf("%d round trips, want %d", d, c.trips)
			}
		})
	}
}
