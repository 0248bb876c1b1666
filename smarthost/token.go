package smarthost

import (
	"context"
	"errors"
	"fmt"
)

// StaticToken is a TokenSource that always returns the same token, until the server
// refuses it.
type StaticToken string

// Token returns the token, or an error if it was refused.
func (t StaticToken) Token(_ context.Context, refused string) (string, error) {
	if refused == string(t) {
		return "", errRefusedToken
	}
	return string(t), nil
}

// Format never writes the secret, for every verb.
func (t StaticToken) Format(f fmt.State, _ rune) { fmt.Fprint(f, "token") }

// MarshalText returns the text of Format.
func (t StaticToken) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%v", t), nil }

var errRefusedToken = errors.New("the server refused the only token")
