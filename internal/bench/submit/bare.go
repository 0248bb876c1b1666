package main

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/nexthop-mail/nexthop/internal/bench"
)

// bareConnections is how many connections a bare source keeps: as many as an agent
// makes to one site.
const bareConnections = 20

// bare sends the messages over kept connections and does nothing else: no queue,
// no route, no report. It is the least that sending them can cost a program in Go.
func (j *job) bare(addr string) error {
	var next atomic.Int64
	var sending sync.WaitGroup
	failures := make(chan error, bareConnections)
	text := append(bench.Content(j.size), ".\r\n"...)
	for range bareConnections {
		sending.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				failures <- err
				return
			}
			defer conn.Close()
			d := dialogue{conn, bufio.NewReader(conn)}
			err = d.expect('2')
			if err == nil {
				err = d.say([]byte("EHLO bare.test\r\n"), '2')
			}
			for err == nil && next.Add(1) <= int64(j.messages) {
				err = d.send(j.to, text)
			}
			if err != nil {
				failures <- err
			}
		})
	}
	sending.Wait()
	select {
	case err := <-failures:
		return err
	default:
		return nil
	}
}

// dialogue is one session of the bare source.
type dialogue struct {
	conn net.Conn
	r    *bufio.Reader
}

// send sends one message: the envelope in one write, which smtp-sink's PIPELINING
// allows, then the content.
func (d *dialogue) send(to string, text []byte) error {
	if _, err := d.conn.Write([]byte("MAIL FROM:<sender@from.test>\r\nRCPT TO:<" + to + ">\r\nDATA\r\n")); err != nil {
		return err
	}
	for _, class := range []byte("223") {
		if err := d.expect(class); err != nil {
			return err
		}
	}
	return d.say(text, '2')
}

func (d *dialogue) say(text []byte, class byte) error {
	if _, err := d.conn.Write(text); err != nil {
		return err
	}
	return d.expect(class)
}

// expect reads a reply of one class.
func (d *dialogue) expect(class byte) error {
	for {
		line, err := d.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) < 4 || line[0] != class {
			return fmt.Errorf("the sink says %q", line)
		}
		if line[3] != '-' {
			return nil
		}
	}
}
