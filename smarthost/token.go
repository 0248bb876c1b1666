package smarthost

import (
	"context"
	"errors"
	"fmt"
)

// StaticToken is a bearer token that somebody else keeps fresh: the same one every
// time, until the server refuses it.
type StaticToken string

// Token is the token, and an error once it was refused.
func (t StaticToken) Token(_ context.Context, refused string) (string, error) {
	if refused == string(t) {
		return "", errRefusedToken
	}
	return string(t), nil
}

// Format writes no secret, whatever the verb.
func (t StaticToken) Format(f fmt.State, _ rune) { fmt.Fprint(f, "token") }

// MarshalText is what Format writes, for logs and files of JSON.
func (t StaticToken) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%v", t), nil }

var errRefusedToken = errors.New("the token was refused, and there is no other")
