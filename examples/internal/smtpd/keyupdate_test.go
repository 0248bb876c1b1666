package smtpd

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// writer writes TLS 1.3 records of its own with the keys of a client (RFC 8446 section 5).
// Package tls never asks the other side for new keys; others do, at any time.
type writer struct {
	conn   net.Conn
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	number uint64 // of the next record
}

// use makes keys of a secret.
func (w *writer) use(secret []byte) error {
	key, err := expand(secret, "key", 16)
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	if w.aead, err = cipher.NewGCM(block); err != nil {
		return err
	}
	w.iv, err = expand(secret, "iv", 12)
	w.secret, w.number = secret, 0
	return err
}

// expand is HKDF-Expand-Label without a context (RFC 8446 section 7.1).
func expand(secret []byte, label string, length int) ([]byte, error) {
	label = "tls13 " + label
	return hkdf.Expand(sha256.New, secret, fmt.Sprintf("\x00%c%c%s\x00", length, len(label), label), length)
}

// write writes a record of a type.
func (w *writer) write(kind byte, text []byte) error {
	text = append(bytes.Clone(text), kind)
	header := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(header[3:], uint16(len(text)+w.aead.Overhead()))
	nonce := bytes.Clone(w.iv)
	for i := range 8 {
		nonce[4+i] ^= byte(w.number >> (56 - 8*i))
	}
	w.number++
	_, err := w.conn.Write(w.aead.Seal(header, nonce, text, header))
	return err
}

// Write writes a record of content.
func (w *writer) Write(text []byte) (int, error) { return len(text), w.write(23, text) }

// renew announces new keys, asks the other side for the same, and uses them.
func (w *writer) renew() error {
	const handshake, keyUpdate, requested = 22, 24, 1
	if err := w.write(handshake, []byte{keyUpdate, 0, 0, 1, requested}); err != nil {
		return err
	}
	next, err := expand(w.secret, "traffic upd", sha256.Size)
	if err != nil {
		return err
	}
	return w.use(next)
}

// TestRenewedKeys: a client may renew its keys and ask for new ones of the server whenever
// it likes, also long after the server has said something. It gets its reply.
func TestRenewedKeys(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, said, again, rest, want string }{
		{"in content by DATA", envelope + "DATA\r\n", "x", "x\r\n.\r\n", "250"},
		{"in content by BDAT", envelope + "BDAT 9 LAST\r\n", "x", "rest\r\n", "250"},
		{"between two commands", "EHLO me\r\n", "NOOP\r\n", "NOOP\r\n", "250 2.0.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config, err := ca.ServerConfig("relay.example")
				if err != nil {
					t.Fatal(err)
				}
				r := &rig{Server: &Server{Name: "relay.example", TempDir: t.TempDir(), Trusted: everybody}}
				r.Data = r.take
				ours, theirs := net.Pipe()
				defer ours.Close()
				var serving sync.WaitGroup
				defer serving.Wait()
				serving.Go(func() { r.serve(t.Context(), tls.Server(theirs, config)) })
				var secrets strings.Builder
				client := tls.Client(ours, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, KeyLogWriter: &secrets})
				if err := client.Handshake(); err != nil {
					t.Fatal(err)
				}
				if suite := client.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
					t.Fatalf("the test knows no %s", tls.CipherSuiteName(suite))
				}
				_, secret, _ := strings.Cut(secrets.String(), "CLIENT_TRAFFIC_SECRET_0 ")
				secret = strings.Fields(secret)[1]
				w := &writer{conn: ours}
				if key, err := hex.DecodeString(secret); err != nil || w.use(key) != nil {
					t.Fatal(err)
				}
				replies, last := bufio.NewScanner(client), ""
				read := make(chan struct{})
				go func() {
					defer close(read)
					for replies.Scan() {
						if line := replies.Text(); !strings.HasPrefix(line, "221") {
							last = line
						}
					}
				}()
				say := func(text string) {
					t.Helper()
					if _, err := io.WriteString(w, text); err != nil {
						t.Fatalf("the connection was lost: %v", err)
					}
				}
				for _, line := range strings.SplitAfter(c.said, "\n") {
					say(line)
					synctest.Wait()
				}
				for range 3 {
					<-time.After(80 * time.Second)
					say(c.again)
					<-time.After(80 * time.Second)
					if err := w.renew(); err != nil {
						t.Fatalf("the connection was lost: %v", err)
					}
				}
				say(c.rest)
				<-time.After(time.Second)
				say("QUIT\r\n")
				<-read
				if !strings.HasPrefix(last, c.want) {
					t.Errorf("the last reply is %q, %v; want %s", last, replies.Err(), c.want)
				}
			})
		})
	}
}
