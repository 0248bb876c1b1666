package content_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nexthop-mail/nexthop/internal/content"
)

// crlf makes canonical lines of a literal with LF.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// TestSevenBit compares what comes out octet for octet.
func TestSevenBit(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"EXT-12 text becomes quoted-printable": {
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\nSubject: x\n\ncafé = 1 \n\n.\nFrom here\n",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\nSubject: x\n\n" +
				"caf=C3=A9 =3D 1=20\n\n.\nFrom here\n",
		},
		"EXT-12 text that is mostly 8-bit becomes base64": {
			"MIME-Version: 1.0\nContent-Transfer-Encoding:\n 8BIT\n\nжжжжжжжжжжжжжжжжжжжжжжжжжжжжжж\nж\n",
			"MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n" +
				"0LbQttC20LbQttC20LbQttC20LbQttC20LbQttC20LbQttC20LbQttC20LbQttC20LbQttC20LbQ\nttC2DQrQtg0K\n",
		},
		"EXT-12 the encoding is stated where nothing was": {
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\n\nan \xe9 in a text\n",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nan =E9 in a text\n",
		},
		"EXT-12 7bit was a lie": {
			"MIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n\na é b c d e f\n",
			"MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\na =C3=A9 b c d e f\n",
		},
		"EXT-12 a message without MIME gets it": {
			"Subject: x\n\nan é in a text\n",
			"Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\nan =C3=A9 in a text\n",
		},
		"EXT-12 a type without MIME-Version stays": {
			"Content-Type: text/html\n\nan é in a text\n",
			"Content-Type: text/html\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\nan =C3=A9 in a text\n",
		},
		"EXT-12 no header at all": {
			"\nan \x80 in a text\n",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\nan =80 in a text\n",
		},
		"EXT-12 only the parts with 8-bit octets change, and the parts they are in": {
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\npreamble\n--b\nContent-Transfer-Encoding: 8bit\n\n7 bits=\n" +
				"--b\nContent-Type: text/plain\n\nan é in a text\n\n--b \nContent-Type: message/rfc822\nContent-Transfer-Encoding: BINARY\n\nSubject: y\nContent-Transfer-Encoding: 8bit\n\nand another é\n" +
				"--b\nContent-Type: application/octet-stream\n\n\xff\xfe\xfd\n--b--\nepilogue\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 7bit\n\npreamble\n--b\nContent-Transfer-Encoding: 8bit\n\n7 bits=\n" +
				"--b\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nan =C3=A9 in a text\n\n--b \nContent-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\nSubject: y\nContent-Transfer-Encoding: quoted-printable\n\nand another =C3=A9\n" +
				"--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n//79\n--b--\nepilogue\n",
		},
		"EXT-12 a part of a digest is a message": {
			"MIME-Version: 1.0\nContent-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: y\n\nan é in a text\n--b--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: y\nContent-Transfer-Encoding: quoted-printable\n\nan =C3=A9 in a text\n--b--\n",
		},
		"EXT-12 encoded parts are not encoded again": {
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\n//79\n--b\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n" +
				"--b\n\nan é in a text\n--b--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\n//79\n--b\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n" +
				"--b\nContent-Transfer-Encoding: quoted-printable\n\nan =C3=A9 in a text\n--b--\n",
		},
		"EXT-12 a signed part of 7 bits stays beside one that is converted": {
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/signed; boundary=c\nContent-Transfer-Encoding: 8bit\n\n--c\n\nseven\n--c--\n--b\n\nan é in a text\n--b--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/signed; boundary=c\nContent-Transfer-Encoding: 8bit\n\n--c\n\nseven\n--c--\n--b\nContent-Transfer-Encoding: quoted-printable\n\nan =C3=A9 in a text\n--b--\n",
		},
		"EXT-12 the last part has no end": {
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n\xff\xff\xff\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\n////DQo=\n",
		},
		"EXT-12 long lines are broken, and none looks like a delimiter": {
			"MIME-Version: 1.0\n\n" + strings.Repeat("x", 72) + "é" + strings.Repeat("-", 80) + "\n" + strings.Repeat(" ", 76) + "\n",
			"MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("x", 72) + "=C3=\n=A9" + strings.Repeat("-", 72) + "=\n=2D-------\n" +
				strings.Repeat(" ", 75) + "=\n=20\n",
		},
		"EXT-12 controls, tabs and blanks": {
			"MIME-Version: 1.0\n\nan é\tand \x01\x7f and more of the text\t\n",
			"MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\nan =C3=A9\tand =01=7F and more of the text=09\n",
		},
		"EXT-12 a very long line": {
			"MIME-Version: 1.0\n\n" + strings.Repeat("x", 20000) + "é \n",
			"MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat(strings.Repeat("x", 75)+"=\n", 266) + strings.Repeat("x", 50) + "=C3=A9=20\n",
		},
		"EXT-12 a very long line in base64": {
			"MIME-Version: 1.0\n\n" + strings.Repeat("\xff", 57*400) + "\n",
			"MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat(strings.Repeat("/", 76)+"\n", 400) + "DQo=\n",
		},
		"EXT-12 very long fields, the encoding among them": {
			"MIME-Version: 1.0\nX: " + strings.Repeat("x", 20000) + "\nContent-Transfer-Encoding:\n\t8bit" + strings.Repeat(" ", 3000) + "\nY: z\n\nan é in a text\n",
			"MIME-Version: 1.0\nX: " + strings.Repeat("x", 20000) + "\nContent-Transfer-Encoding: quoted-printable\nY: z\n\nan =C3=A9 in a text\n",
		},
		"EXT-12 multiparts that end with the one around them, and what is no delimiter": {
			"MIME-Version: 1.0\nContent-Type: multipart/mixed;\n\tboundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\n\n--\n-b\n+-b\n--bc\nan é in a text\n--b\n\n--bb\nan é in a text\n--b\nX: y\n--b--\n--b\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed;\n\tboundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\nContent-Transfer-Encoding: quoted-printable\n\n--\n-b\n+-b\n--bc\nan =C3=A9 in a text\n--b\nContent-Transfer-Encoding: quoted-printable\n\n--bb\nan =C3=A9 in a text\n--b\nX: y\n--b--\n--b\n",
		},
		"EXT-12 base64 in one part, then in another": {
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n\xff\xff\n--b\n\n\xff\xff\xff\n\n--b\n\nx\n--b--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\n//8=\n--b\nContent-Transfer-Encoding: base64\n\n////DQo=\n--b\n\nx\n--b--\n",
		},
		"7 bits stay as they are": {"Subject: x\n\n7 bits\n", "Subject: x\n\n7 bits\n"},
	} {
		t.Run(name, func(t *testing.T) {
			in := prepare(t, memory(crlf(c.in)), content.Relay)
			out, err := content.SevenBit(&in, content.ConvertUnsigned)
			if err != nil {
				t.Fatal(err)
			}
			defer out.Release()
			if got := read(t, &out); got != crlf(c.want) || out.EightBit || out.Size() != int64(len(got)) {
				t.Errorf("it became (EightBit %t, Size %d)\n%s\nwant\n%s", out.EightBit, out.Size(), got, crlf(c.want))
			}
			again, err := content.SevenBit(&out, content.ConvertUnsigned)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Release()
			if read(t, &again) != crlf(c.want) {
				t.Error("converted twice it is something else")
			}
		})
	}
}

func TestSevenBitRefuses(t *testing.T) {
	const mime = "MIME-Version: 1.0\n"
	for name, c := range map[string]struct {
		in   string
		c    content.Conversion
		want string
	}{
		"EXT-12 8 bits in the header":                           {"Subject: é\n\né\n", 0, "8-bit octets in a header cannot be converted"},
		"EXT-12 in the header of a part":                        {mime + "Content-Type: multipart/mixed; boundary=b\n\n--b\nX: é\n\nx\n--b--\n", 0, "8-bit octets in a header cannot be converted"},
		"EXT-12 a DKIM signature":                               {"DKIM-Signature: v=1\n\né\n", 0, "a signed message is not converted"},
		"EXT-12 an ARC seal":                                    {"arc-seal : i=1\n\né\n", 0, "a signed message is not converted"},
		"EXT-12 multipart/signed":                               {mime + "Content-Type: multipart/signed; boundary=b\n\n--b\n\né\n--b--\n", content.ConvertSigned, "a signed or encrypted part with 8-bit octets cannot be converted"},
		"EXT-12 multipart/encrypted":                            {mime + "Content-Type: Multipart/Encrypted; boundary=b\n\n--b\n\né\n--b--\n", 0, "a signed or encrypted part with 8-bit octets cannot be converted"},
		"EXT-12 deep in a signed part":                          {mime + "Content-Type: multipart/signed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\né\n--c--\n--b--\n", 0, "a signed or encrypted part with 8-bit octets cannot be converted"},
		"EXT-12 before the parts":                               {mime + "Content-Type: multipart/mixed; boundary=b\n\né\n--b\n\nx\n--b--\n", 0, "8-bit octets beside the parts of a message cannot be converted"},
		"EXT-12 behind the parts":                               {mime + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\né\n", 0, "8-bit octets beside the parts of a message cannot be converted"},
		"EXT-12 said to be base64":                              {mime + "Content-Transfer-Encoding: base64\n\né\n", 0, "8-bit octets in a part that is said to be encoded cannot be converted"},
		"EXT-12 said to be quoted-printable":                    {mime + "Content-Transfer-Encoding: quoted-printable\n\né\n", 0, "8-bit octets in a part that is said to be encoded cannot be converted"},
		"EXT-12 an encoding of the sender's own":                {mime + "Content-Transfer-Encoding: x-uuencode\n\né\n", 0, "8-bit octets in a part that is said to be encoded cannot be converted"},
		"EXT-12 two encodings":                                  {mime + "Content-Transfer-Encoding: 8bit\nContent-Transfer-Encoding: 8bit\n\né\n", 0, "8-bit octets in a part that is said to be encoded cannot be converted"},
		"EXT-12 a piece of a message":                           {mime + "Content-Type: message/partial; id=x; number=1\n\nX: y\n\né\n", 0, "8-bit octets in a message type that may not be encoded cannot be converted"},
		"EXT-12 a delivery report":                              {mime + "Content-Type: message/delivery-status\n\nx\n\né\n", 0, "8-bit octets in a message type that may not be encoded cannot be converted"},
		"EXT-12 a boundary that cannot be read":                 {mime + "Content-Type: multipart/mixed; boundary*=us-ascii''b\n\n--b\n\né\n--b--\n", 0, ""},
		"EXT-12 two types":                                      {mime + "Content-Type: text/plain\nContent-Type: text/html\n\né\n", 0, "8-bit content whose structure cannot be told is not converted"},
		"EXT-12 an enclosed message that is said to be encoded": {mime + "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nX: y\n\né\n", 0, "8-bit octets in a part that is said to be encoded cannot be converted"},
		"EXT-12 a comment in the type":                          {mime + "Content-Type: text/plain (x)\n\né\n", 0, ""},
		"EXT-12 a type that is too long":                        {mime + "Content-Type: text/plain;" + strings.Repeat(" x=y;", 1000) + "\n\né\n", 0, "8-bit content whose structure cannot be told is not converted"},
		"EXT-12 a multipart without a boundary":                 {mime + "Content-Type: multipart/mixed\n\n7\n", content.ConvertUnsigned, "8-bit content whose structure cannot be told is not converted"},
		"EXT-12 a multipart with an empty boundary":             {mime + "Content-Type: multipart/mixed; boundary=\"\"\n\n7\n", 0, "8-bit content whose structure cannot be told is not converted"},
		"EXT-12 parts within parts, too deep":                   {mime + strings.Repeat("Content-Type: multipart/mixed; boundary=b\n\n--b\n", 65) + "\né\n", 0, ""},
		"EXT-12 a very long line before the parts":              {mime + "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("x", 20000) + "é\n--b\n\nx\n--b--\n", 0, "8-bit octets beside the parts of a message cannot be converted"},
		"EXT-12 the application does not want it":               {mime + "\né\n", content.ConvertNothing, "8-bit content is not to be converted"},
	} {
		t.Run(name, func(t *testing.T) {
			in := prepare(t, memory(crlf(c.in)), content.Relay)
			_, err := content.SevenBit(&in, c.c)
			var e *content.Error
			if !errors.As(err, &e) || e.Enhanced != "5.6.3" || c.want != "" && e.Reason != c.want {
				t.Errorf("the error is %v, want 5.6.3 %s", err, c.want)
			}
		})
	}
	t.Run("EXT-12 a signature may be broken on demand", func(t *testing.T) {
		in := prepare(t, memory(crlf("DKIM-Signature: v=1\n\nan é in a text\n")), content.Relay)
		out, err := content.SevenBit(&in, content.ConvertSigned)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Release()
		if got := read(t, &out); !strings.Contains(got, "an =C3=A9 in a text") {
			t.Errorf("it became %s", got)
		}
	})
	for n := range 3 {
		t.Run(fmt.Sprintf("what cannot be read is temporary, %d", n), func(t *testing.T) {
			in := prepare(t, &fickle{stream: streamOf("X: y\r\n\r\n" + filler + "é\r\n"), times: 1 + n/2, breaks: n == 1}, content.Relay)
			if _, err := content.SevenBit(&in, 0); err == nil || !strings.Contains(err.Error(), "gone") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// fickle is a source that can be read so many times, and then cannot be opened, or
// breaks off.
type fickle struct {
	stream
	times  int
	breaks bool
}

func (f *fickle) Open() (io.ReadCloser, error) {
	f.times--
	switch gone := errors.New("gone"); {
	case f.times >= 0:
		return f.stream.Open()
	case f.breaks:
		return io.NopCloser(io.MultiReader(strings.NewReader(f.data[:1<<20]), iotest.ErrReader(gone))), nil
	default:
		return nil, gone
	}
}

// TestSevenBitTrees converts messages with parts within parts, short and long, and
// decodes them with a reader that is not ours.
func TestSevenBitTrees(t *testing.T) {
	converted, long := 0, 0
	for seed := range uint64(3000) {
		g := &tree{Rand: rand.New(rand.NewPCG(seed, 2)), inBody: true}
		in := "MIME-Version: 1.0\r\n" + g.entity(4, false)
		if seed%100 == 0 {
			in, long = strings.Replace(in, "é", filler+"é", 1), long+1
		}
		b := prepare(t, streamOf(in), content.Relay)
		out, err := content.SevenBit(&b, content.ConvertUnsigned)
		var refused *content.Error
		if errors.As(err, &refused) && strings.Contains(refused.Reason, "beside") {
			continue // in a preamble or an epilogue
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		converted++
		got := read(t, &out)
		if out.EightBit || strings.ContainsFunc(got, func(r rune) bool { return r >= 0x80 }) {
			t.Fatalf("seed %d: 8-bit octets are left:\n%s", seed, got)
		}
		if out.LongestLine > 76 && !b.MIME {
			t.Fatalf("seed %d: a line of %d octets", seed, out.LongestLine)
		}
		if want, have := leaves(t, in), leaves(t, got); want != have {
			t.Fatalf("seed %d: decoded it is\n%s\nand was\n%s\nin\n%s", seed, have, want, got)
		}
		out.Release()
	}
	if converted < 1000 || long == 0 {
		t.Errorf("%d messages were converted, %d long ones: too few", converted, long)
	}
}

// leaves decodes a message: its fields but those of the encoding, and its bodies.
func leaves(t *testing.T, message string) string {
	t.Helper()
	var out strings.Builder
	if err := decode(&out, strings.NewReader(message), nil, false); err != nil {
		t.Fatalf("%v in\n%s", err, message)
	}
	return out.String()
}

func decode(out *strings.Builder, body io.Reader, header textproto.MIMEHeader, digest bool) error {
	if header == nil {
		r := bufio.NewReader(body)
		var err error
		if header, err = textproto.NewReader(r).ReadMIMEHeader(); err != nil && err != io.EOF {
			return err
		}
		body, digest = r, false
	}
	kind := header.Get("Content-Type")
	if kind == "" && digest {
		kind = "message/rfc822"
	}
	mediaType, params, _ := mime.ParseMediaType(kind)
	how := header.Get("Content-Transfer-Encoding")
	header.Del("Content-Transfer-Encoding")
	fmt.Fprintln(out, header)
	switch {
	case strings.HasPrefix(mediaType, "multipart/"):
		parts := multipart.NewReader(body, params["boundary"])
		for {
			p, err := parts.NextRawPart()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := decode(out, p, p.Header, mediaType == "multipart/digest"); err != nil {
				return err
			}
		}
	case mediaType == "message/rfc822":
		return decode(out, body, nil, false)
	}
	switch how {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	data, err := io.ReadAll(body)
	fmt.Fprintf(out, "%q\n", bytes.TrimSuffix(data, []byte("\r\n")))
	return err
}

// FuzzSevenBit: whatever comes, what comes out has 7 bits and is the same each time
// it is read; or there is an error that says why not.
func FuzzSevenBit(f *testing.F) {
	for _, s := range []string{
		"\né\n", "MIME-Version: 1.0\nContent-Type: multipart/digest; boundary=b\n\n--b\n\nX: y\n\né\n--b--\n",
		"Content-Type: multipart/mixed; boundary=\"b\"\n\n--b\nContent-Transfer-Encoding: 8bit\n\né \n--b\n--b--",
		"Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\n\n\n\xff", "Content-Transfer-Encoding:\n 8bit\n\n\xff",
	} {
		f.Add([]byte(crlf(s)))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := content.Prepare(memory(in), content.Origin|content.Relay)
		if err != nil {
			return
		}
		defer b.Release()
		out, err := content.SevenBit(&b, content.ConvertUnsigned)
		if err != nil {
			var e *content.Error
			if !errors.As(err, &e) || e.Enhanced != "5.6.3" {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		defer out.Release()
		first, second := read(t, &out), read(t, &out)
		if first != second || out.EightBit || out.Size() != int64(len(first)) {
			t.Fatalf("%q, then %q", first, second)
		}
		if !b.EightBit && first != string(b.Bytes()) {
			t.Fatalf("7 bits have become %q", first)
		}
	})
}
