package delivery_test

import (
	"fmt"

	"github.com/nexthop-mail/nexthop/delivery"
)

func ExampleDefaultSchedule() {
	s := delivery.DefaultSchedule()
	for n := 1; n <= 7; n++ {
		fmt.Println(n, s.Delay(delivery.Retry{Attempts: n}))
	}
	// Output:
	// 1 5m0s
	// 2 15m0s
	// 3 30m0s
	// 4 1h0m0s
	// 5 2h0m0s
	// 6 4h0m0s
	// 7 4h0m0s
}
