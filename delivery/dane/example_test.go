package dane_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// What DANE asks of a host, and what it says of the certificates that the host sends.
func Example() {
	dns := &mxtest.DNS{
		Zone: `
			example.com             MX   10 mail.example.com.
			mail.example.com        A    192.0.2.25
			_25._tcp.mail.example.com TLSA 2 1 1 65a457617072da3e7f1152471eb3d406526530097d0a9aa34eb47c990a1fcda3
			_25._tcp.mail.example.com TLSA 1 1 1 0000000000000000000000000000000000000000000000000000000000000000`,
		Signed: map[string]bool{"example.com": true},
	}
	ctx := context.Background()
	route, err := mx.Lookup(ctx, dns, "example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	source := dane.Source{Resolver: dns}
	policy := source.Find(ctx, &route, &route.Hosts[0])
	if err := policy.Err(); err != nil {
		fmt.Println("the next host is tried:", err)
		return
	}
	fmt.Println("name for the handshake:", policy.ServerName())

	// Then the connection, of which crypto/tls tells the certificates.
	verdict := policy.Judge(dane.Session{Offered: true, Chain: exampleChain()}, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	fmt.Println("mail may be sent:", verdict.Err() == nil)
	fmt.Print(verdict)
	// Output:
	// name for the handshake: mail.example.com
	// mail may be sent: true
	// mail.example.com port 25 for example.com
	//   asked TLSA of _25._tcp.mail.example.com: records, secure
	//   record 2 1 1 65a457617072da3e7f1152471eb3d406526530097d0a9aa34eb47c990a1fcda3: matches at depth 1
	//   record 1 1 1 0000000000000000000000000000000000000000000000000000000000000000: usage means nothing in SMTP
	//   names for usage 2: mail.example.com, example.com
	//   certificate 0: "CN=example.com", example.com, issued by "CN=Issuer CA", until 3015-04-15
	//   certificate 1: "CN=Issuer CA", no DNS name, issued by "CN=Root CA", until 3015-04-15
	//   authenticated
}

// exampleChain are the certificates of the fifteenth vector in testdata, without the root.
func exampleChain() (chain []*x509.Certificate) {
	text, err := os.ReadFile("testdata/danetest.in")
	if err != nil {
		return nil
	}
	for n := 0; ; n++ {
		block, rest := pem.Decode(text)
		if block == nil || len(chain) == 2 {
			return chain
		}
		if text = rest; n >= 10 {
			if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
				chain = append(chain, cert)
			}
		}
	}
}
