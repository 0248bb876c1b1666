package smtp_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// FuzzAuth lets a server say anything to AUTH. The client must not say anything but
// what the mechanism gives it, must come to an end, and must count as logged in
// only where the last reply was 2yz.
func FuzzAuth(f *testing.F) {
	for _, s := range []string{
		"235 ok\r\n", "334 \r\n|235 ok\r\n", "334 YWJj\r\n|334 ZGVm\r\n|535 5.7.8 no\r\n", "334 !!\r\n|501 cancelled\r\n",
		"334-YWJj\r\n334 ZGVm\r\n|501 x\r\n", "334\r\n|235\r\n", "334 YQ=\r\n|235 ok\r\n", "421 bye\r\n", "350 x\r\n",
		"535 5.7.8 no\r\n235 ok\r\n", strings.Repeat("334 \r\n|", 20), "334 " + strings.Repeat("A", 12300) + "\r\n|501 x\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		b := babble(slices.Concat([]byte("220 h\r\n|250-h\r\n250 AUTH X\r\n|"), said))
		s, err := smtp.New(b, &smtp.Config{Hello: "client.example"})
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		if s.Greet(ctx) != nil || s.Hello(ctx) != nil {
			t.Fatal("no session")
		}
		err = s.Auth(ctx, &talker{name: "X", initial: []byte("abc"), responses: slices.Repeat([][]byte{[]byte("abc")}, 100)})
		if (err == nil) != s.Authenticated() {
			t.Errorf("%v, and logged in: %t", err, s.Authenticated())
		}
		if err == nil && !bytes.Contains(said, []byte("2")) {
			t.Error("logged in without a 2yz")
		}
		s.Quit(ctx)
		for line := range strings.SplitSeq(b.heard.String(), "\r\n") {
			if !slices.Contains([]string{"EHLO client.example", "AUTH X YWJj", "YWJj", "*", "QUIT", ""}, line) {
				t.Errorf("said %q", line)
			}
		}
	})
}
