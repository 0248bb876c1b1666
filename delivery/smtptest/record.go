package smtptest

import (
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"time"
)

// Message is a message whose last octet has arrived.
type Message struct {
	From       string   // the reverse-path; empty is the null one
	Params     []string // the parameters of MAIL, as sent
	Recipients []Recipient
	Content    []byte // without transparency dots; nil where Host.Discard
	Size       int64  // octets of the content
	Chunks     []int  // the sizes of the BDAT chunks; nil for DATA
	Reply      string // what was answered; empty where nothing was
	Hello      string // the argument of EHLO or HELO
	User       string // who has logged in
	TLS        bool
	Conn       int // the number of the connection, from 1
	At         time.Time
}

// Recipient is a recipient that was accepted, with the parameters of RCPT.
type Recipient struct {
	Address string
	Params  []string
}

// To lists the addresses of the recipients.
func (m *Message) To() []string {
	var to []string
	for _, r := range m.Recipients {
		to = append(to, r.Address)
	}
	return to
}

// Taken reports whether the message was answered 2yz.
func (m *Message) Taken() bool { return strings.HasPrefix(m.Reply, "2") }

// Connection is what happened on one connection.
type Connection struct {
	Number        int // from 1, in the order of acceptance
	Local, Remote net.Addr
	Opened        time.Time
	Closed        time.Time // zero while it is open
	TLS           *tls.ConnectionState

	// RoundTrips counts the times the Host had answered everything and waited
	// for more: the greeting makes one, and so does each flight of commands.
	RoundTrips int

	// Lines is the dialogue, the first 10,000 lines of it. Content is one line
	// in brackets that gives its size. What AUTH sends is there as it was sent.
	Lines []Line

	// Received and Sent are all octets below TLS, where Host.Capture is set.
	Received, Sent []byte
}

// Line is one line of a dialogue, without its line end.
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

// Messages lists the messages the Host has taken, in the order in which it did.
func (h *Host) Messages() []Message {
	return slices.DeleteFunc(h.Received(), func(m Message) bool { return !m.Taken() })
}

// Received lists all messages that have arrived whole, those that were refused
// then or not answered, too.
func (h *Host) Received() []Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.messages)
}

// Connections lists the connections, those that are open, too, as they stand.
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

// Commands lists what clients said, over all connections in order of
// connection.
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

// RoundTrips is the sum over all connections.
func (h *Host) RoundTrips() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	sum := 0
	for _, r := range h.conns {
		sum += r.RoundTrips
	}
	return sum
}
