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
	in int // so many writes go well; negative is all
}

func (f *failing) Write(p []byte) (int, error) {
	if f.in == 0 {
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
		"long lines with dots":       "." + long + "." + long + long + "." + long,
		"dots in every line":         strings.Repeat("."+line, 3000),
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
					host := written(scripted([]smtptest.Cue{{At: smtptest.Content, After: after, Reply: "552 5.3.4 enough", Then: smtptest.Close}}, ext...))
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
