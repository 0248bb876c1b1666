package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/nexthop-mail/nexthop/queue"
)

// signer makes the Sign hook of a delivery.Agent: DKIM (RFC 6376) with one key.
// The agent calls it at Submit and for the reports it makes itself, with content
// whose line ends are what will be sent.
func signer(domain, selector string, key crypto.Signer) func(context.Context, *queue.Message) (queue.Content, error) {
	return func(ctx context.Context, m *queue.Message) (queue.Content, error) {
		s, err := dkim.NewSigner(&dkim.SignOptions{
			Domain: domain, Selector: selector, Signer: key,
			HeaderCanonicalization: dkim.CanonicalizationRelaxed,
			BodyCanonicalization:   dkim.CanonicalizationRelaxed,
		})
		if err != nil {
			return nil, err
		}
		// The content is read as a stream, however long it is.
		if _, err := queue.CopyContent(ctx, s, m.Content); err != nil {
			_ = s.Close() // ends the signer; the error that counts is the first
			return nil, err
		}
		if err := s.Close(); err != nil {
			return nil, err
		}
		return queue.Prepend(s.Signature(), m.Content), nil
	}
}

// readKey reads a private key in PKCS #8, as "openssl genpkey" writes it.
func readKey(file string) (crypto.Signer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: not in PEM", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if signer, ok := key.(crypto.Signer); ok {
		return signer, nil
	}
	return nil, errors.Join(fmt.Errorf("%s: a key that cannot sign", file), err)
}
