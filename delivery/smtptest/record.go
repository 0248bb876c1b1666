package smtptest

import (
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"time"
)

// Message is a message that has arrived completely.
type Message struct {
	From       string   // the reverse-path; empty for the null one
	Params     []string // the parameters of MAIL, as sent
	Recipients []Recipient
	Content    []byte // without transparency dots; nil with Host.Discard
	Size       int64  // octets of the content
	Chunks     []int  // the sizes of the BDAT chunks; nil for DATA
	Reply      string // the reply; empty if there was none
	Hello      string // the argument of EHLO or HELO
	User       string // that has logged in; empty if none has
	TLS        bool
	Conn       int // the number of the connection, from 1
	At         time.Time
}

// Recipient is a recipient that was accepted, with the parameters of RCPT.
type Recipient struct {
	Address string
	Params  []string
}

// To returns the addresses of the recipients.
func (m *Message) To() []string {
	var to []string
	for _, r := range m.Recipients {
		to = append(to, r.Address)
	}
	return to
}

// Taken reports whether the reply to the message was 2yz.
func (m *Message) Taken() bool { return strings.HasPrefix(m.Reply, "2") }

// Connection is the record of one connection.
type Connection struct {
	Number        int // from 1, in the order of acceptance
	Local, Remote net.Addr
	Opened        time.Time
	Closed        time.Time // zero while it is open
	TLS           *tls.ConnectionState

	// RoundTrips is how often the Host had answered everything and waited for more: once
	// after the greeting, and once after each flight of commands.
	RoundTrips int

	// Lines are the first 10,000 lines of the dialogue. Content is replaced by one line in
	// brackets with its size. The lines of AUTH are there as they were sent.
	Lines []Line

	// Received and Sent are all octets below TLS, if Host.Capture is set.
	Received, Sent []byte
}

// Line is one line of a dialogue, without its line ending.
type Line struct {
	At     time.Time
	Client bool // said by the client
	Text   string
}

// String returns the line with an arrow: "C: " or "S: ".
func (l Line) String() string {
	if l.Client {
		return "C: " + l.Text
	}
	return "S: " + l.Text
}

// record is a Connection in the making; the Host's mutex guards it.
type record struct {
	Connection
}

// Messages returns the messages that the Host has accepted, in that order.
func (h *Host) Messages() []Message {
	return slices.DeleteFunc(h.Received(), func(m Message) bool { return !m.Taken() })
}

// Received returns all messages that have arrived completely, including those that were
// then refused or not answered.
func (h *Host) Received() []Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.messages)
}

// Connections returns the current records of all connections, including those that are
// open.
func (h *Host) Connections() []Connection {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]Connection, len(h.conns))
	for i, r := range h.conns {
		list[i] = r.Connection
		list[i].Lines = slices.Clone(r.Lines)
		list[i].Received = slices.Clone(r.Received)
		list[i].Sent = slices.Clone(r.Sent)
	}
	return list
}

// Commands returns the commands of the clients on all connections, in order of connection.
func (h *Host) Commands() []string {
	var said []string
	for _, c := range h.Connections() {
		for _, l := range c.Lines {
			if l.Client {
				said = append(said, l.Text)
			}
		}
	}
	return said
}

// RoundTrips returns the number of round trips on all connections.
func (h *Host) RoundTrips() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	sum := 0
	for _, r := range h.conns {
		sum += r.RoundTrips
	}
	return sum
}
