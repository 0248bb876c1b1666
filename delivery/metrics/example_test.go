package metrics_test

import (
	"os"

	"github.com/nexthop-mail/nexthop/delivery/metrics"
)

func ExampleNewWriter() {
	w := metrics.NewWriter(os.Stdout)
	w.Gauge("app_lists", "Mailing lists.", 3)
	w.Counter("app_signups_total", "People who signed up.", 120, metrics.Label{Name: "list", Value: "news"})
	if err := w.Flush(); err != nil {
		panic(err)
	}
	// Output:
	// # HELP app_lists Mailing lists.
	// # TYPE app_lists gauge
	// app_lists 3
	// # HELP app_signups_total People who signed up.
	// # TYPE app_signups_total counter
	// app_signups_total{list="news"} 120
}
