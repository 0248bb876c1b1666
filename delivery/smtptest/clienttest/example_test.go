package clienttest_test

import (
	"fmt"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery/smtptest/clienttest"
)

// Every scenario names the section of the standard that it shows.
func ExampleScenarios() {
	for _, s := range clienttest.Scenarios() {
		if strings.HasPrefix(s.Name, "null MX") {
			fmt.Println(s.Name, "-", s.Section)
		}
	}
	// Output:
	// null MX is final and nobody is dialled - RFC 7505 section 3
	// null MX beside other records is passed over - RFC 7505 section 3
}
