package content_test

import (
	"io"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/content"
)

func BenchmarkPrepare(b *testing.B) {
	header := "Received: from a.test (a.test [192.0.2.1])\r\n\tby b.test with ESMTP id 1\r\n\tfor <u@e.test>; " +
		"Mon, 2 Jan 2006 15:04:05 +0000\r\nFrom: A <a@a.test>\r\nTo: B <b@b.test>\r\nSubject: a subject\r\n" +
		"Date: Mon, 2 Jan 2006 15:04:05 +0000\r\nMessage-ID: <1@a.test>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\n\r\n"
	crlf := header + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 136)
	for _, c := range []struct {
		name string
		in   content.Source
	}{
		{"canonical", memory(crlf)},
		{"LF", memory(strings.ReplaceAll(crlf, "\r", ""))},
		{"eight bit", memory(strings.ReplaceAll(crlf, "xxxxx", "x\u00e4\u00f6\u00fc"))},
		{"stream", streamOf(crlf)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(crlf)))
			b.ReportAllocs()
			for b.Loop() {
				body, err := content.Prepare(c.in, content.Origin)
				if err != nil {
					b.Fatal(err)
				}
				body.Release()
			}
		})
	}
}

// BenchmarkLong looks at content that is not held in memory, and reads it.
func BenchmarkLong(b *testing.B) {
	crlf := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 4<<20/72)
	for name, data := range map[string]string{"CRLF": crlf, "LF": strings.ReplaceAll(crlf, "\r", "")} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				body, err := content.Prepare(streamOf(data), content.Origin)
				if err != nil {
					b.Fatal(err)
				}
				r, err := body.Open()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
