// Command dkim shows how a delivery.Agent has its mail signed: what is submitted,
// and the reports it makes itself. The hosts are in memory, and check what they
// get.
//
//	go run -C examples ./dkim
package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dkim:", err)
		os.Exit(1)
	}
}

const zone = `
example.com.       MX 10 mail.example.com.
mail.example.com.  A  192.0.2.1
example.org.       MX 10 mail.example.org.
mail.example.org.  A  192.0.2.2
`

func run(ctx context.Context, out io.Writer) (err error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	here := &smtptest.Host{}
	there := &smtptest.Host{Script: []smtptest.Cue{
		{At: smtptest.Rcpt, Address: "nobody@example.com", Reply: "550 5.1.1 No such user"},
	}}
	net := &smtptest.Internet{Zone: zone, Hosts: map[string]*smtptest.Host{
		"mail.example.org": here, "mail.example.com": there,
	}}
	defer net.Close()

	delivered := make(chan delivery.Event)
	agent := &delivery.Agent{
		Queue:  &memory.Queue{},
		Sender: &delivery.Sender{Hello: "mail.example.org", Resolver: net, Dial: net.DialContext},
		// Reports come from the domain whose key signs them.
		Postmaster: "postmaster@example.org",
		Sign:       signer("example.org", "key1", key),
		Events: func(e delivery.Event) {
			if e.Kind == delivery.Delivered {
				delivered <- e
			}
		},
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(ctx) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()

	_, err = agent.Submit(ctx, &queue.Message{
		From:       "me@example.org",
		Recipients: []queue.Recipient{{Address: "you@example.com"}, {Address: "nobody@example.com"}},
		Content:    queue.String("From: me@example.org\nTo: you@example.com\nSubject: Hello\n\nHello!\n"),
	})
	if err != nil {
		return err
	}
	for range 2 { // the message to you, and the report about nobody
		<-delivered
	}
	record := "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)
	for _, host := range []*smtptest.Host{there, here} {
		for _, m := range host.Received() {
			if err := check(out, &m, record); err != nil {
				return err
			}
		}
	}
	return nil
}

// check verifies the signature as a receiver does.
func check(out io.Writer, m *smtptest.Message, record string) error {
	list, err := dkim.VerifyWithOptions(bytes.NewReader(m.Content), &dkim.VerifyOptions{
		LookupTXT: func(string) ([]string, error) { return []string{record}, nil },
	})
	if err != nil {
		return err
	}
	if len(list) != 1 || list[0].Err != nil {
		return fmt.Errorf("mail from <%s> has no good signature: %+v", m.From, list)
	}
	fmt.Fprintf(out, "from <%s> to %s: signed by %s\n", m.From, m.To()[0], list[0].Domain)
	return nil
}
