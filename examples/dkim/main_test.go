package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"os"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
)

func Example() {
	if err := run(context.Background(), os.Stdout); err != nil {
		panic(err)
	}
	// Output:
	// from <me@example.org> to you@example.com: signed by example.org
	// from <> to me@example.org: signed by example.org
}

func TestSignerSaysWhatItCannotSign(t *testing.T) {
	sign := signer("example.org", "key1", nil)
	if _, err := sign(t.Context(), &queue.Message{Content: queue.String("S: s\r\n\r\n")}); err == nil {
		t.Error("signed without a key")
	}
	missing := queue.File(t.TempDir() + "/none")
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, err = signer("example.org", "key1", key)(t.Context(), &queue.Message{Content: missing})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want that there is no such file", err)
	}
}
