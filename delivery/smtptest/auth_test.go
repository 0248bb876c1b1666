package smtptest_test

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestAuth(t *testing.T) {
	users := map[string]string{"user": "pencil"}
	mac := hmac.New(md5.New, []byte("pencil"))
	mac.Write([]byte("<1896.697170952@host.example>"))
	cram := b64("user " + hex.EncodeToString(mac.Sum(nil)))
	const welcome, no = "\nS: 235 2.7.0 welcome\n", "\nS: 535 5.7.8 credentials invalid\n"
	cases := []struct {
		name      string
		mechanism string
		dialogue  string
		user      string
	}{
		{"PLAIN", "PLAIN", "C: AUTH PLAIN " + b64("\x00user\x00pencil") + welcome, "user"},
		{"PLAIN in two steps", "PLAIN", "C: AUTH PLAIN\nS: 334 \nC: " + b64("\x00user\x00pencil") + welcome, "user"},
		{"PLAIN, wrong password", "PLAIN", "C: AUTH PLAIN " + b64("\x00user\x00x") + no, ""},
		{"PLAIN, unknown user", "PLAIN", "C: AUTH PLAIN " + b64("\x00who\x00") + no, ""},
		{"PLAIN, malformed", "PLAIN", "C: AUTH PLAIN " + b64("user pencil") + no, ""},
		{"LOGIN", "LOGIN", "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: " + b64("user") + "\nS: 334 UGFzc3dvcmQ6\nC: " + b64("pencil") + welcome, "user"},
		{"LOGIN with the name at once", "LOGIN", "C: AUTH LOGIN " + b64("user") + "\nS: 334 UGFzc3dvcmQ6\nC: " + b64("pen") + no, ""},
		{"cancelled", "LOGIN", "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: *\nS: 501 5.7.0 cancelled\n", ""},
		{"CRAM-MD5", "CRAM-MD5", "C: AUTH CRAM-MD5\nS: 334 " + b64("<1896.697170952@host.example>") + "\nC: " + cram + welcome, "user"},
		{"CRAM-MD5, wrong", "CRAM-MD5", "C: AUTH CRAM-MD5\nS: 334 " + b64("<1896.697170952@host.example>") + "\nC: " + b64("user 00") + no, ""},
		{"XOAUTH2", "XOAUTH2", "C: AUTH XOAUTH2 " + b64("user=user\x01auth=Bearer pencil\x01\x01") + welcome, "user"},
		{"XOAUTH2, expired", "XOAUTH2", "C: AUTH XOAUTH2 " + b64("user=user\x01auth=Bearer old\x01\x01") + "\nS: 334 " + b64(`{"status":"401","schemes":"bearer"}`) + "\nC:" + no, ""},
		{"OAUTHBEARER", "OAUTHBEARER", "C: AUTH OAUTHBEARER " + b64("n,a=user,\x01host=h\x01auth=Bearer pencil\x01\x01") + welcome, "user"},
		{"OAUTHBEARER, expired", "OAUTHBEARER", "C: AUTH OAUTHBEARER " + b64("n,a=user,\x01auth=Bearer old\x01\x01") + "\nS: 334 " + b64(`{"status":"invalid_token"}`) + "\nC: AQ==" + no, ""},
		{"EXTERNAL without a certificate", "EXTERNAL", "C: AUTH EXTERNAL =" + no, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &smtptest.Host{Extensions: []string{"AUTH " + c.mechanism}, Users: users, Allow: []smtptest.Rule{smtptest.RuleAuthClear}}
				message := "C: MAIL FROM:<>\nS: 250 2.1.0 ok\nC: RCPT TO:<b@b.example>\nS: 250 2.1.5 ok\nC: DATA\nS: 354 go ahead\n" + taken
				talk(t, h, offering("AUTH "+c.mechanism)+c.dialogue+message+quit)
				h.Check(t)
				if m := h.Messages(); len(m) != 1 || m[0].User != c.user {
					t.Errorf("messages %+v, want one of %q", m, c.user)
				}
			})
		})
	}
}

// TestScram plays the example of RFC 7677 section 3, whose salt and nonce are
// not the Host's: only the shape of the exchange is the same.
func TestScram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &smtptest.Host{
			Extensions: []string{"AUTH SCRAM-SHA-256"}, Users: map[string]string{"user": "pencil"},
		}
		conn := open(t, h)
		converse(t, conn, offering("AUTH SCRAM-SHA-256"))
		if err := scramLogin(conn, "user", "pencil", ""); err != nil {
			t.Errorf("right password: %v", err)
		}
		other := open(t, h)
		converse(t, other, offering("AUTH SCRAM-SHA-256"))
		if err := scramLogin(other, "user", "pen", ""); err == nil || !strings.HasPrefix(err.Error(), "535 ") {
			t.Errorf("wrong password: %v", err)
		}
	})
}

func TestScriptedAuth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &smtptest.Host{Extensions: []string{"AUTH PLAIN"}, Allow: []smtptest.Rule{smtptest.RuleAuthClear}, Script: []smtptest.Cue{
			{At: smtptest.Auth, Nth: 1, Reply: "454 4.7.0 later"},
			{At: smtptest.Auth, Nth: 2, Reply: "334 !!"},
			{At: smtptest.AuthReply, Nth: 2, Reply: "432 4.7.12 change your password"},
		}}
		talk(t, h, offering("AUTH PLAIN")+`
			C: AUTH PLAIN =
			S: 454 4.7.0 later
			C: AUTH PLAIN =
			S: 334 !!
			C: *
			S: 501 5.7.0 cancelled
			C: AUTH PLAIN
			S: 334 `+`
			C: =
			S: 432 4.7.12 change your password
			`+quit)
		h.Check(t)
	})
}
