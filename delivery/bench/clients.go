package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	netsmtp "net/smtp"
	"strconv"

	emersion "github.com/emersion/go-smtp"
	gomail "github.com/wneessen/go-mail"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

const (
	from = "sender@from.test"
	to   = "recipient@to.test"
)

// Client sends the same message again and again over a connection it keeps.
type Client struct {
	Name  string
	Send  func() error
	Close func() error
}

// Clients are all the clients under comparison, connected to addr. Nexthop is
// the first.
func Clients(addr string, size int) ([]Client, error) {
	content := Message(size)
	var clients []Client
	for _, make := range []func(string, []byte) (Client, error){Nexthop, NetSMTP, Emersion, GoMail} {
		c, err := make(addr, content)
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	return clients, nil
}

// Message is a plain message of about the given size.
func Message(size int) []byte {
	var b bytes.Buffer
	b.WriteString("From: sender@from.test\r\nTo: recipient@to.test\r\nSubject: a message\r\n" +
		"Date: Mon, 02 Jan 2006 15:04:05 +0000\r\nMessage-ID: <1@from.test>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: text/plain; charset=us-ascii\r\n\r\n")
	line := bytes.Repeat([]byte("abcdefgh"), 9)
	for b.Len() < size {
		b.Write(line)
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// Nexthop is a whole Sender: the route is looked up in a warm cache, the report
// is made.
func Nexthop(addr string, content []byte) (Client, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return Client{}, err
	}
	s := &delivery.Sender{
		Hello:         "from.test",
		Resolver:      &mx.Cache{Resolver: oneHost(ap.Addr())},
		Port:          ap.Port(),
		AllowLoopback: true,
	}
	m := &queue.Message{From: from, Recipients: []queue.Recipient{{Address: to}}, Content: queue.Bytes(content)}
	ctx := context.Background()
	return Client{"nexthop", func() error {
		_, err := s.Send(ctx, m)
		return err
	}, s.Close}, nil
}

// NetSMTP is the standard library's client.
func NetSMTP(addr string, content []byte) (Client, error) {
	c, err := netsmtp.Dial(addr)
	if err != nil {
		return Client{}, err
	}
	if err := c.Hello("from.test"); err != nil {
		return Client{}, err
	}
	send := func() error {
		if err := c.Mail(from); err != nil {
			return err
		}
		if err := c.Rcpt(to); err != nil {
			return err
		}
		w, err := c.Data()
		if err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
		return w.Close()
	}
	return Client{"net-smtp", send, c.Quit}, nil
}

// Emersion is emersion/go-smtp's client.
func Emersion(addr string, content []byte) (Client, error) {
	c, err := emersion.Dial(addr)
	if err != nil {
		return Client{}, err
	}
	if err := c.Hello("from.test"); err != nil {
		return Client{}, err
	}
	send := func() error { return c.SendMail(from, []string{to}, bytes.NewReader(content)) }
	return Client{"go-smtp", send, c.Quit}, nil
}

// GoMail is wneessen/go-mail's client, given the body it renders itself.
func GoMail(addr string, content []byte) (Client, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return Client{}, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return Client{}, err
	}
	c, err := gomail.NewClient(host, gomail.WithPort(n), gomail.WithTLSPolicy(gomail.NoTLS), gomail.WithHELO("from.test"))
	if err != nil {
		return Client{}, err
	}
	if err := c.DialWithContext(context.Background()); err != nil {
		return Client{}, err
	}
	_, body, ok := bytes.Cut(content, []byte("\r\n\r\n"))
	if !ok {
		return Client{}, fmt.Errorf("the message has no body")
	}
	m := gomail.NewMsg(gomail.WithEncoding(gomail.NoEncoding))
	if err := m.From(from); err != nil {
		return Client{}, err
	}
	if err := m.To(to); err != nil {
		return Client{}, err
	}
	m.SetBodyString(gomail.TypeTextPlain, string(body))
	return Client{"go-mail", func() error { return c.Send(m) }, c.Close}, nil
}

// oneHost is DNS in which every domain has one MX host at one address.
type oneHost netip.Addr

func (a oneHost) Resolve(_ context.Context, name string, t mx.Type) (mx.Answer, error) {
	answer := mx.Answer{Status: mx.Success, Name: name, TTL: 1 << 40}
	switch t {
	case mx.TypeMX:
		answer.MX = []mx.MX{{Preference: 10, Host: "mx.to.test"}}
	case mx.TypeA:
		answer.Addrs = []netip.Addr{netip.Addr(a)}
	default:
		answer.Status = mx.NoData
	}
	return answer, nil
}
