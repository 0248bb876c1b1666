package smtp_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// dotted is content with dots at starts of lines all over the place, of about n
// octets.
func dotted(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for b.Len() < n {
		b.WriteString([]string{"", ".", "..", ".x", "x.", "...", "a.b", strings.Repeat("y", 70)}[r.IntN(8)])
		b.WriteString("\r\n")
	}
	return b.String()
}

func TestContent(t *testing.T) {
	for name, text := range map[string]string{
		"a dot":              ".\r\n",
		"two dots":           "..\r\n",
		"a dot and text":     ".a\r\n.\r\n..b\r\n",
		"a dot at the end":   "a\r\n.",
		"no final CRLF":      "a",
		"empty":              "",
		"an empty line":      "\r\n",
		"64 KiB to the dot":  strings.Repeat("x", 64<<10-2) + "\r\n.\r\n",
		"64 KiB and a CR":    strings.Repeat("x", 64<<10-1) + "\r\n.\r\n",
		"64 KiB of one line": strings.Repeat("x", 64<<10) + "\r\n",
		"70 KiB of dots":     dotted(70 << 10),
		"400 KiB":            dotted(400 << 10),
	} {
		for mode, ext := range modes() {
			for how, b := range map[string]smtp.Body{"memory": body(text), "a stream": streamOf(text)} {
				if how == "memory" && text == "" {
					b = body{}
				}
				host := offering(ext...)
				host.Allow = []smtptest.Rule{smtptest.RuleContentLine}
				with(t, "SMTP-28, SMTP-29, EXT-13 "+name+" from "+how+", "+mode, host, func(r *rig) {
					r.warm()
					tx := message("u@e.test")
					tx.Body = b
					r.wantStates(r.send(tx), "delivered")
					r.s.Quit(r.t.Context())
					want := text
					if mode != "chunked" && !strings.HasSuffix(text, "\r\n") && text != "" {
						want += "\r\n"
					}
					m := r.host.Messages()[1]
					if !bytes.Equal(m.Content, []byte(want)) {
						r.t.Errorf("%d octets arrived, %d were sent", len(m.Content), len(want))
					}
					sum := 0
					for _, n := range m.Chunks {
						sum += n
					}
					if mode == "chunked" && sum != len(text) || mode != "chunked" && m.Chunks != nil {
						r.t.Errorf("chunks %v", m.Chunks)
					}
				})
			}
		}
	}
	with(t, "SMTP-29 the final dot, octet for octet", offering(), func(r *rig) {
		r.open()
		for _, text := range []string{"a\r\n", "a", ""} {
			tx := message("u@e.test")
			tx.Body = body(text)
			r.wantStates(r.send(tx), "delivered")
		}
		var after []string
		for part := range strings.SplitSeq(string(r.tap.AllWritten()), "DATA\r\n") {
			text, _, _ := strings.Cut(part, "MAIL")
			after = append(after, text)
		}
		if !slices.Equal(after[1:], []string{"a\r\n.\r\n", "a\r\n.\r\n", ".\r\n"}) {
			r.t.Errorf("wrote %q", after)
		}
	})
}

// longLines lets content have lines of any length.
func longLines(h *smtptest.Host) *smtptest.Host {
	h.Allow = append(h.Allow, smtptest.RuleContentLine)
	return h
}

func TestBareLines(t *testing.T) {
	for _, text := range []string{
		"a\n.\nb\r\n", "a\n.\r\nb\r\n", "a\r.\rb\r\n", "a\r\r\n.\r\r\nb\r\n", "a\r\n.\nb\r\n", "a\rb\r\n", "a\nb\r\n", "a\r", "a\n", "\n", "\r",
		"a\r\n\r.\r\n", strings.Repeat("x", 64<<10-1) + "\rb\r\n",
	} {
		for mode, ext := range map[string][]string{"lockstep": nil, "grouped": {"PIPELINING"}} {
			with(t, "SMTP-30 no CR or LF alone leaves by DATA: "+strconv.Quote(text[max(0, len(text)-12):])+", "+mode, longLines(abandoned(offering(ext...))), func(r *rig) {
				r.open()
				tx := message("u@e.test")
				tx.Body = body(text)
				res := r.send(tx)
				r.wantStates(res, "failed")
				wantErr(r.t, res.Err, smtp.StageContent, smtp.Local)
				wrote := string(r.tap.AllWritten())
				if rest := strings.ReplaceAll(wrote, "\r\n", ""); strings.ContainsAny(rest, "\r\n") || strings.Contains(wrote, "\r\n.\r\n") {
					r.t.Errorf("wrote %q", wrote[max(0, len(wrote)-40):])
				}
				if len(r.host.Received()) > 0 {
					r.t.Error("a message arrived")
				}
			})
		}
	}
}

func TestBrokenContent(t *testing.T) {
	torn := errors.New("disk on fire")
	failing := func(text string, err error) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(text), iotest.ErrReader(err))), nil
		}
	}
	long := string(make(zeros, 200_000).Bytes())
	for name, b := range map[string]stream{
		"cannot be opened":             {25, func() (io.ReadCloser, error) { return nil, torn }},
		"fails at once":                {25, failing("", torn)},
		"fails half way":               {25, failing(hello[:10], torn)},
		"fails at its end":             {25, failing(hello, torn)},
		"ends too early":               {25, streamOf(hello[:10]).open},
		"goes on too long":             {25, streamOf(hello + "more\r\n").open},
		"is long and fails half way":   {200_000, failing(long[:100_000], torn)},
		"is long and ends too early":   {200_000, streamOf(long[:150_000]).open},
		"is long and goes on too long": {int64(len(long)), streamOf(long + "more\r\n").open},
	} {
		for mode, ext := range modes() {
			with(t, "content that "+name+" never becomes a message, "+mode, abandoned(offering(ext...)), func(r *rig) {
				r.warm()
				tx := message("u@e.test")
				tx.Body = b
				res := r.send(tx)
				if res.Err == nil || res.Err.Kind != smtp.Local || res.Rcpts[0].Err == nil {
					r.t.Errorf("error %v", res.Err)
				}
				if s := res.Rcpts[0].State; s != smtp.Failed && s != smtp.NotTried {
					r.t.Errorf("state %v", s)
				}
				if n := len(r.host.Received()); n != 1 {
					r.t.Errorf("%d messages", n)
				}
				if mode == "chunked" || b.size == 25 {
					r.wantStates(r.send(message("u@e.test")), "delivered")
				} else if r.s.Reusable() {
					r.t.Error("still of use")
				}
			})
		}
	}
	with(t, "memory that is not as long as it says", offering("PIPELINING"), func(r *rig) {
		r.open()
		tx := message("u@e.test")
		tx.Body = liar{body(hello)}
		wantErr(r.t, r.send(tx).Err, smtp.StageContent, smtp.Local)
		r.wantStates(r.send(message("u@e.test")), "delivered")
	})
}

type liar struct{ body }

func (l liar) Size() int64 { return l.body.Size() + 1 }

func TestSize(t *testing.T) {
	tx := func(n int) *smtp.Transaction {
		tx := message("u@e.test")
		tx.Body = body(strings.Repeat("x", n-2) + "\r\n")
		return tx
	}
	for name, ext := range modes() {
		host := offering(append(ext, "SIZE 1000")...)
		host.Allow = []smtptest.Rule{smtptest.RuleContentLine}
		with(t, "EXT-4 nothing larger than the server takes, "+name, host, func(r *rig) {
			r.open()
			r.wantStates(r.send(tx(1000)), "delivered")
			res := r.send(tx(1001))
			r.wantStates(res, "not tried")
			if e := wantErr(r.t, res.Rcpts[0].Err, smtp.StageMail, smtp.Unfit); e.Enhanced != "5.3.4" {
				r.t.Errorf("status %q", e.Enhanced)
			}
			if n := strings.Count(strings.Join(r.commands(), "\n"), "MAIL"); n != 1 || !r.s.Reusable() {
				r.t.Errorf("%d times MAIL", n)
			}
		})
	}
	for _, offer := range []string{"SIZE 0", "SIZE", "SIZE greets you", "SIZE -5", "SIZE 99999999999999999999"} {
		with(t, "EXT-4 no limit: "+offer, offering(offer), func(r *rig) {
			r.open()
			r.wantStates(r.send(tx(900)), "delivered")
			if got := r.commands()[0]; got != "MAIL FROM:<a@x.test> SIZE=900" {
				r.t.Errorf("said %q", got)
			}
		})
	}
	with(t, "EXT-5 SIZE counts neither dots nor the end", offering("SIZE"), func(r *rig) {
		r.open()
		tx := message("u@e.test")
		tx.Body = body(".\r\n..\r\n")
		r.wantStates(r.send(tx), "delivered")
		if got := r.commands()[0]; got != "MAIL FROM:<a@x.test> SIZE=7" {
			r.t.Errorf("said %q", got)
		}
	})
}
