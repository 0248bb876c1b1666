package main

import (
	"encoding/json"
	"io"
	"os"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

// journal writes events, an object a line.
type journal struct {
	path string // empty is nowhere, "-" is out
	out  io.Writer

	mu   sync.Mutex
	file *os.File
}

// open opens the file, once more where it was open: whoever rotates it sends SIGHUP.
func (j *journal) open() error {
	if j.path == "" || j.path == "-" {
		return nil
	}
	mode := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if info, err := os.Stat(j.path); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
		mode = os.O_RDWR // which waits for no reader
	}
	f, err := os.OpenFile(j.path, mode, 0o640)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file != nil {
		_ = j.file.Close()
	}
	j.file, j.out = f, cli.NewOutput(f)
	return nil
}

// line is an event on the outside.
type line struct {
	Time      string `json:"time"`
	Event     string `json:"event"`
	ID        string `json:"id"`
	From      string `json:"from"`
	Recipient string `json:"recipient"`
	Attempt   int    `json:"attempt"`
	Host      string `json:"host"`
	Addr      string `json:"addr"`
	Code      int    `json:"code"`
	Enhanced  string `json:"enhanced"`
	Reply     string `json:"reply"`
	TLS       string `json:"tls"`
	Next      string `json:"next,omitempty"`
	Bounce    string `json:"bounce,omitempty"`      // the id of the report, for bounced and delayed
	Place     string `json:"destination,omitempty"` // for events about a destination
	Tenant    string `json:"tenant,omitempty"`
	Class     string `json:"class,omitempty"` // for what was not delivered
}

// write appends one event. An event that cannot be written is lost: mail goes on.
func (j *journal) write(e *delivery.Event) {
	if j.path == "" {
		return
	}
	l := line{
		Time: e.Time.UTC().Format(time.RFC3339Nano), Event: e.Kind.String(), ID: e.ID, From: e.From,
		Recipient: e.Recipient, Attempt: e.Attempt, Host: e.Host, Code: e.Code, Enhanced: e.Enhanced,
		Reply: e.Reply, Bounce: e.BounceID, Tenant: e.Tenant, Class: classOf(e),
	}
	if e.Addr.IsValid() {
		l.Addr, l.TLS = e.Addr.String(), e.TLS.String()
	}
	if !e.Next.IsZero() {
		l.Next = e.Next.UTC().Format(time.RFC3339Nano)
	}
	if e.ID == "" {
		l.Place = e.Destination
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_ = printJSON(j.out, &l)
}

// printJSON writes an object and a line end in one write.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // replies have angle brackets
	return e.Encode(v)
}
