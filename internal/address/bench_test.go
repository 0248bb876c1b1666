package address_test

import (
	"testing"

	"github.com/nexthop-mail/nexthop/internal/address"
)

func BenchmarkParse(b *testing.B) {
	for _, s := range []string{"someone@mail.example.com", "Someone@Example.COM", `"a b"@example.com`, "u@bücher.example"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := address.Parse(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParseLong has the worst that a caller can be made to parse: the time
// must grow with the length, not with its square.
func BenchmarkParseLong(b *testing.B) {
	for name, s := range longInputs() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = address.Parse(s)
			}
		})
	}
}

func BenchmarkParseDomain(b *testing.B) {
	for _, s := range []string{"mail.example.com", "xn--bcher-kva.example", "bücher.example"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := address.ParseDomain(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
