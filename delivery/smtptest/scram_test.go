package smtptest_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// scramLogin is a client of SCRAM-SHA-256, or of -PLUS where binding is the data
// of a tls-exporter channel binding. The error is the reply that is not 235.
func scramLogin(conn io.ReadWriter, user, password, binding string) error {
	in := bufio.NewReader(conn)
	name, header := "SCRAM-SHA-256", "n,,"
	if binding != "" {
		name, header = "SCRAM-SHA-256-PLUS", "p=tls-exporter,,"
	}
	bare := "n=" + user + ",r=rOprNGfwEbeRWgbNEkqO"
	challenge, err := step(conn, in, "AUTH "+name+" "+b64(header+bare))
	if err != nil {
		return err
	}
	fields := map[string]string{}
	for f := range strings.SplitSeq(challenge, ",") {
		key, value, _ := strings.Cut(f, "=")
		fields[key] = value
	}
	salt, _ := base64.StdEncoding.DecodeString(fields["s"])
	rounds, _ := strconv.Atoi(fields["i"])
	salted, _ := pbkdf2.Key(sha256.New, password, salt, rounds, 32)
	sum := func(key []byte, text string) []byte {
		mac := hmac.New(sha256.New, key)
		io.WriteString(mac, text)
		return mac.Sum(nil)
	}
	without := "c=" + b64(header+binding) + ",r=" + fields["r"]
	message := bare + "," + challenge + "," + without
	key := sum(salted, "Client Key")
	stored := sha256.Sum256(key)
	proof := sum(stored[:], message)
	for i := range proof {
		proof[i] ^= key[i]
	}
	final, err := step(conn, in, b64(without+",p="+base64.StdEncoding.EncodeToString(proof)))
	if err != nil {
		return err
	}
	if want := "v=" + base64.StdEncoding.EncodeToString(sum(sum(salted, "Server Key"), message)); final != want {
		return fmt.Errorf("server's signature %q, want %q", final, want)
	}
	_, err = step(conn, in, "")
	return err
}

// step sends a line and returns the challenge that answers it.
func step(conn io.Writer, in *bufio.Reader, line string) (string, error) {
	if _, err := io.WriteString(conn, line+"\r\n"); err != nil {
		return "", err
	}
	reply, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	reply = strings.TrimSpace(reply)
	switch reply[:3] {
	case "235":
		return "", nil
	case "334":
		p, err := base64.StdEncoding.DecodeString(reply[4:])
		return string(p), err
	default:
		return "", errors.New(reply)
	}
}

func TestScramPlus(t *testing.T) {
	for _, right := range []bool{true, false} {
		t.Run(fmt.Sprintf("binding right %v", right), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &smtptest.Host{
					ImplicitTLS: true, Extensions: []string{"AUTH SCRAM-SHA-256-PLUS"}, Users: map[string]string{"user": "pencil"},
				}
				conn := tls.Client(open(t, h), &tls.Config{InsecureSkipVerify: true})
				converse(t, conn, offering("AUTH SCRAM-SHA-256-PLUS"))
				state := conn.ConnectionState()
				binding, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
				if err != nil {
					t.Fatal(err)
				}
				if !right {
					binding[0]++
				}
				if err := scramLogin(conn, "user", "pencil", string(binding)); (err == nil) != right {
					t.Errorf("login: %v", err)
				}
				conn.Close()
			})
		})
	}
}
