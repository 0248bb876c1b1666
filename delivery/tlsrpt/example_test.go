package tlsrpt_test

import (
	"fmt"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
)

// The words of delivery/dane and delivery/mtasts are those of RFC 8460, too.
func ExampleParseResult() {
	result, ok := tlsrpt.ParseResult("certificate-expired")
	fmt.Println(result, ok, result == tlsrpt.CertificateExpired)
	// Output: certificate-expired true true
}
