package smtp_test

import (
	"bytes"
	"context"
	"net"
	"strconv"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// sink is a server that takes everything as fast as it can, by its own script:
// it counts octets and lines and remembers nothing.
type sink struct {
	ehlo string
}

// serve answers one connection until it ends.
func (k sink) serve(conn net.Conn) {
	defer conn.Close()
	in := bytes.NewBuffer(nil)
	buf := make([]byte, 256<<10)
	var out []byte
	skip, text := 0, false
	out = append(out, "220 sink\r\n"...)
	for {
		if len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		in.Write(buf[:n])
		for in.Len() > 0 {
			if skip > 0 {
				skip -= len(in.Next(skip))
				continue
			}
			if text {
				i := bytes.Index(in.Bytes(), []byte("\r\n.\r\n"))
				if i < 0 {
					in.Next(max(0, in.Len()-4))
					break
				}
				in.Next(i + 5)
				text, out = false, append(out, "250 2.0.0 taken\r\n"...)
				continue
			}
			i := bytes.IndexByte(in.Bytes(), '\n')
			if i < 0 {
				break
			}
			line := in.Next(i + 1)
			switch line[0] {
			case 'E':
				out = append(out, k.ehlo...)
			case 'D':
				text, out = true, append(out, "354 go\r\n"...)
			case 'B':
				f := bytes.Fields(line)
				skip, _ = strconv.Atoi(string(f[1]))
				out = append(out, "250 2.0.0 taken\r\n"...)
			default:
				out = append(out, "250 2.1.0 fine\r\n"...)
			}
		}
	}
}

func benchmarkSend(b *testing.B, ehlo string, size int, stream bool) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := l.Accept(); err == nil {
			sink{ehlo}.serve(conn)
		}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	s, err := smtp.New(conn, &smtp.Config{Hello: "client.example"})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := s.Greet(ctx); err != nil {
		b.Fatal(err)
	}
	if err := s.Hello(ctx); err != nil {
		b.Fatal(err)
	}
	tx := message("u@e.test")
	text := make(zeros, size).Bytes()
	tx.Body = body(text)
	if stream {
		tx.Body = streamOf(string(text))
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Check(); err != nil {
			b.Fatal(err)
		}
		if res := s.Send(ctx, tx); res.Rcpts[0].State != smtp.Delivered {
			b.Fatal(res.Err)
		}
	}
	s.Close()
	l.Close()
	<-done
}

func BenchmarkSend(b *testing.B) {
	const (
		plain   = "250 sink\r\n"
		grouped = "250-sink\r\n250 PIPELINING\r\n"
		chunked = "250-sink\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
	)
	for _, c := range []struct {
		name, ehlo string
		size       int
		stream     bool
	}{
		{"lockstep/4KiB", plain, 4 << 10, false},
		{"grouped/4KiB", grouped, 4 << 10, false},
		{"chunked/4KiB", chunked, 4 << 10, false},
		{"chunked/4KiB/stream", chunked, 4 << 10, true},
		{"grouped/10MiB", grouped, 10 << 20, false},
		{"chunked/10MiB", chunked, 10 << 20, false},
		{"chunked/10MiB/stream", chunked, 10 << 20, true},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkSend(b, c.ehlo, c.size, c.stream) })
	}
}
