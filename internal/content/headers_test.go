package content_test

import (
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/content"
)

// far makes a message the last part of one that is not held in memory, so that
// it can come in pieces.
func far(message string) stream {
	before := "Content-Type: multipart/mixed; boundary=far\r\n\r\n" + filler + "--far\r\n"
	return stream{before + message, -1, pieces(int64(len(before)), 1)}
}

func TestUTF8Header(t *testing.T) {
	mixed := "Content-Type: multipart/mixed;\r\n\tboundary=\"b 1\"\r\n\r\npreamble\r\n--b 1\r\n"
	enclosed := "Content-Type: message/rfc822\r\n\r\n"
	deep := ""
	for range 70 {
		deep += "Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", len(deep)%60+1) + "\r\n\r\n--" +
			strings.Repeat("b", len(deep)%60+1) + "\r\n"
	}
	cases := []struct {
		name, in string
		want     bool
	}{
		{"the message's header", "From: jö@e.test\r\n\r\nc\r\n", true},
		{"a header without a body", "From: jö@e.test", true},
		{"the body", "a: b\r\n\r\né\r\n", false},
		{"a body that looks like a header", "a: b\r\n\r\nFrom: jö@e.test\r\n\r\n", false},
		{"a line of 10,000 octets in the header", "a: " + strings.Repeat("x", 9_900) + "é\r\n\r\n", true},
		{"stored with LF", "From: jö@e.test\n\nc\n", true},
		{"stored with LF, the body", "From: a\n\né\n", false},
		{"stored with CR, the body", "From: a\r\ré\r", false},

		{"a part's header", mixed + "Subject: é\r\n\r\nc\r\n--b 1--\r\n", true},
		{"a part's body", mixed + "A: b\r\n\r\né\r\n--b 1--\r\n", false},
		{"the header of a later part", mixed + "\r\né\r\n--b 1\r\nSubject: é\r\n\r\n--b 1--\r\n", true},
		{"blanks behind the boundary", mixed + "\r\nc\r\n--b 1 \t\r\nSubject: é\r\n\r\n--b 1--\r\n", true},
		{"a part without a body", mixed + "A: b\r\n--b 1\r\nSubject: é\r\n--b 1--\r\n", true},
		{"the preamble", "Content-Type: multipart/mixed; boundary=b\r\n\r\né\r\n--b\r\n\r\n--b--\r\n", false},
		{"after the last part", mixed + "A: b\r\n\r\nc\r\n--b 1--\r\nX: é\r\n", false},
		{"after the last part, which has no body", mixed + "A: b\r\n--b 1--\r\nX: é\r\n", false},
		{"a signature is no boundary", "a: b\r\n\r\nc\r\n-- \r\nTel: é\r\n", false},
		{"nor is a longer one", mixed + "\r\nc\r\n--b 12\r\nTel: é\r\n\r\n", false},
		{"a boundary without a multipart", "Content-Type: text/plain; boundary=b\r\n\r\n--b\r\nTel: é\r\n", false},

		{"an enclosed message's header", mixed + enclosed + "From: jö@e.test\r\n\r\nc\r\n--b 1--\r\n", true},
		{"an enclosed message's body", mixed + enclosed + "From: j@e.test\r\n\r\né\r\n--b 1--\r\n", false},
		{"enclosed in the message itself", enclosed + "From: jö@e.test\r\n\r\n", true},
		{"enclosed twice", enclosed + enclosed + "Subject: é\r\n\r\n", true},
		{"enclosed twice, the body", enclosed + enclosed + "Subject: e\r\n\r\né\r\n", false},
		{"an enclosed multipart", mixed + enclosed + "Content-Type: Multipart/Alternative; Boundary=B\r\n\r\n--B\r\nA: é\r\n\r\n--B--\r\n--b 1--\r\n", true},
		{"after an enclosed multipart", mixed + enclosed + "Content-Type: multipart/alternative; boundary=B\r\n\r\n--B\r\n\r\nc\r\n--b 1\r\nA: é\r\n\r\n--b 1--\r\n", true},
		{"a boundary of a multipart that has ended", mixed + "Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n\r\nc\r\n--b 1\r\n\r\n--B\r\nA: é\r\n\r\n--b 1--\r\n", false},
		{"a message in a digest", "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nFrom: jö@e.test\r\n\r\n--b--\r\n", true},
		{"its body", "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nFrom: j@e.test\r\n\r\né\r\n--b--\r\n", false},
		{"text in a digest", "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\né: é\r\n--b--\r\n", false},
		{"the header in a report", mixed + "Content-Type: text/rfc822-headers\r\n\r\nFrom: jö@e.test\r\n--b 1--\r\n", true},

		{"a quoted boundary", "Content-Type: multipart/mixed; x=\"; boundary=no\"; boundary=\"a\\\"b\"\r\n\r\n--a\"b\r\nA: é\r\n\r\n", true},
		{"another parameter's value", "Content-Type: multipart/mixed; x=\"; boundary=no\"; boundary=b\r\n\r\n--no\r\nA: é\r\n\r\n", false},
		{"blanks around the equals sign", "Content-Type: multipart/mixed; boundary = b\r\n\r\n--b\r\nA: é\r\n\r\n", true},
		{"a blank before the colon", "Content-Type : multipart/mixed; boundary=b\r\n\r\n--b\r\nA: é\r\n\r\n", true},
		{"folded in four", "Content-Type:\r\n multipart/mixed\r\n ;\r\n boundary=b\r\n\r\n--b\r\nA: é\r\n\r\n", true},
		{"another field's boundary", "X-Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nA: é\r\n\r\n", false},
		{"multipart without a boundary", "Content-Type: multipart/mixed; charset=x\r\n\r\n--b\r\nA: é\r\n\r\n", false},

		// What cannot be followed is taken for a header throughout.
		{"a boundary in pieces", "Content-Type: multipart/mixed; boundary*0=b\r\n\r\né\r\n", true},
		{"a comment before the type", "Content-Type: (c) multipart/mixed; boundary=b\r\n\r\né\r\n", true},
		{"a comment before the boundary", "Content-Type: multipart/mixed; (c) boundary=b\r\n\r\né\r\n", true},
		{"a comment behind it", "Content-Type: multipart/mixed; boundary=b (c)\r\n\r\né\r\n", true},
		{"a quote without an end", "Content-Type: multipart/mixed; boundary=\"b\r\n\r\né\r\n", true},
		{"an empty boundary", "Content-Type: multipart/mixed; boundary=\"\"\r\n\r\né\r\n", true},
		{"too long a field", "Content-Type: multipart/mixed; x=" + strings.Repeat("y", 5000) + "; boundary=b\r\n\r\né\r\n", true},
		{"too long a field, folded", "Content-Type: multipart/mixed; x=\"" + strings.Repeat("y\r\n ", 5000) + "\"; boundary=b\r\n\r\né\r\n", true},
		{"parts too deep", deep + "\r\né\r\n", true},
	}
	for _, c := range cases {
		t.Run("I18N-6 "+c.name, func(t *testing.T) {
			for kind, s := range map[string]content.Source{
				"memory": memory(c.in),
				"stream": streamOf(c.in),
				"octets": far(c.in),
			} {
				b := prepare(t, s, content.Origin|content.AllowLongLines)
				if b.UTF8Header != c.want || !b.EightBit {
					t.Errorf("%s: UTF8Header %t, want %t", kind, b.UTF8Header, c.want)
				}
			}
		})
	}
}

func TestHeaderFacts(t *testing.T) {
	cases := []struct {
		name, in string
		received int
		mime     bool
	}{
		{"none", "a: b\r\n\r\nReceived: x\r\nMIME-Version: 1.0\r\n", 0, false},
		{"both", "Received: x\r\n\tby y\r\nReceived: z\r\nMIME-Version: 1.0\r\n\r\n", 2, true},
		{"odd case", "rECEIVED:x\r\nmime-version : 1.0\r\n\r\n", 1, true},
		{"longer names", "Received-SPF: pass\r\nX-Received: x\r\nMIME-Versions: 1\r\n\r\n", 0, false},
		{"folded text", "Subject: x\r\n Received: y\r\n\tMIME-Version: 1.0\r\n\r\n", 0, false},
		{"of a part", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nReceived: x\r\nMIME-Version: 1.0\r\n\r\n--b--\r\n", 0, false},
		{"of an enclosed message", "Content-Type: message/rfc822\r\n\r\nReceived: x\r\nMIME-Version: 1.0\r\n\r\n", 0, false},
		{"a hundred and one", strings.Repeat("Received: x\r\n", 101) + "\r\n", 101, false},
		{"without a body", "Received: x\r\nReceived: y", 2, false},
		{"stored with LF", "Received: x\nMIME-Version: 1.0\n\nReceived: y\n", 1, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for kind, s := range map[string]content.Source{
				"memory":    memory(c.in),
				"eight bit": memory(c.in + "\r\n\r\n\xff"),
				"long":      streamOf(c.in + "\r\n\r\n" + filler),
			} {
				b := prepare(t, s, content.Origin)
				if b.Received != c.received || b.MIME != c.mime {
					t.Errorf("%s: Received %d, MIME %t, want %d, %t", kind, b.Received, b.MIME, c.received, c.mime)
				}
			}
		})
	}
}

// TestTLSRequiredField: the field TLS-Required: No of the message's own header.
func TestTLSRequiredField(t *testing.T) {
	cases := []struct {
		name, in string
		want     bool
	}{
		{"none", "a: b\r\n\r\nTLS-Required: No\r\n", false},
		{"one", "a: b\r\nTLS-Required: No\r\n\r\n", true},
		{"odd case, and blanks", "tls-REQUIRED :\t nO \t\r\n\r\n", true},
		{"without a blank", "TLS-Required:No\r\n\r\n", true},
		{"folded", "TLS-Required:\r\n No\r\na: b\r\n\r\n", true},
		{"folded behind", "TLS-Required: No\r\n \r\n\r\n", true},
		{"in the text of another field", "Subject: x\r\n TLS-Required: No\r\n\r\n", false},
		{"a longer name", "X-TLS-Required: No\r\nTLS-Required-By: No\r\n\r\n", false},
		{"another value", "TLS-Required: Yes\r\n\r\n", false},
		{"no value", "TLS-Required:\r\n\r\n", false},
		{"more than the value", "TLS-Required: No, thanks\r\n\r\n", false},
		{"more than the value, folded", "TLS-Required: No\r\n thanks\r\n\r\n", false},
		{"a comment, which the grammar has not", "TLS-Required: No (please)\r\n\r\n", false},
		{"a value without end", "TLS-Required: No" + strings.Repeat(" ", 900) + strings.Repeat("\r\n "+strings.Repeat(" ", 900), 5) + "x\r\n\r\n", false},
		{"twice the same", "TLS-Required: No\r\nTLS-Required: no\r\n\r\n", true},
		{"twice, and they differ", "TLS-Required: No\r\nTLS-Required: Yes\r\n\r\n", false},
		{"twice, and they differ the other way", "TLS-Required: Yes\r\nTLS-Required: No\r\n\r\n", false},
		{"of a part", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nTLS-Required: No\r\n\r\n--b--\r\n", false},
		{"of an enclosed message", "Content-Type: message/rfc822\r\n\r\nTLS-Required: No\r\n\r\n", false},
		{"behind a Content-Type", "Content-Type: text/plain\r\nTLS-Required: No\r\n\r\n", true},
		{"before a Content-Type", "TLS-Required: No\r\nContent-Type: text/plain\r\n\r\n", true},
		{"without a body", "TLS-Required: No", true},
		{"stored with LF", "TLS-Required: No\n\n", true},
	}
	for _, c := range cases {
		t.Run("TLS-53 "+c.name, func(t *testing.T) {
			sources := map[string]content.Source{"memory": memory(c.in), "stream": streamOf(c.in)}
			if strings.Contains(c.in, "\n\n") || strings.Contains(c.in, "\r\n\r\n") {
				sources["eight bit"], sources["long"] = memory(c.in+"\xff"), streamOf(c.in+filler)
			}
			for kind, s := range sources {
				if b := prepare(t, s, content.Origin); b.TLSOptional != c.want {
					t.Errorf("%s: %t, want %t", kind, b.TLSOptional, c.want)
				}
			}
		})
	}
}
