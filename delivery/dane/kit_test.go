package dane_test

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/mx"
)

// Resolve implements mx.Resolver.
func (a answers) Resolve(_ context.Context, name string, _ mx.Type) (mx.Answer, error) {
	answer := a.Answer
	answer.Name = name
	return answer, nil
}

// policyOf is the policy of example.com by a secure set of records.
func policyOf(t testing.TB, set []mx.TLSA) *dane.Policy {
	t.Helper()
	source := dane.Source{Resolver: answers{mx.Answer{Status: mx.Success, Secure: true, TLSA: set}}}
	host := mx.Host{Name: "example.com", Target: "example.com", Secure: mx.Secure, NameSecure: mx.Secure}
	return source.Find(t.Context(), &mx.Route{Domain: "example.com", Secure: true}, &host)
}

// scan reads a record that stands in zone text.
func scan(record string, usage, selector, matching *uint8, data *[]byte) bool {
	var digits string
	if _, err := fmt.Sscan(record, usage, selector, matching, &digits); err != nil {
		return false
	}
	var err error
	*data, err = hex.DecodeString(digits)
	return err == nil
}

// about reports whether a record has what it should have of a certificate, found out in
// another way than the package does.
func about(r mx.TLSA, of *identity) bool {
	whole := string(of.cert.Raw)
	if r.Selector == 1 {
		whole = string(of.cert.RawSubjectPublicKeyInfo)
	}
	switch r.MatchingType {
	case 0:
		return string(r.Data) == whole
	case 1:
		return fmt.Sprintf("%x", sha256.Sum256([]byte(whole))) == hex.EncodeToString(r.Data)
	case 2:
		return fmt.Sprintf("%x", sha512.Sum512([]byte(whole))) == hex.EncodeToString(r.Data)
	}
	return false
}

// halfSigned is a Resolver whose answers of one type are not secure.
type halfSigned struct {
	mx.Resolver
	unsigned mx.Type
}

func (h halfSigned) Resolve(ctx context.Context, name string, t mx.Type) (mx.Answer, error) {
	a, err := h.Resolver.Resolve(ctx, name, t)
	a.Secure = a.Secure && t != h.unsigned
	return a, err
}
