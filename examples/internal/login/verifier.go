package login

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/stringprep"
)

// Verifier is what SCRAM-SHA-256 keeps in place of a password (RFC 5802 section 3).
type Verifier struct {
	Iterations int
	Salt       []byte
	StoredKey  [sha256.Size]byte
	ServerKey  [sha256.Size]byte
}

const (
	// DefaultIterations is how often a new verifier's password is hashed: some ten
	// milliseconds. RFC 7677 section 4 wants 4,096 at least.
	DefaultIterations = 65_536

	minIterations = 4096
	maxIterations = 1 << 22 // a second or two
	saltSize      = 16
	scheme        = "SCRAM-SHA-256"
)

var (
	errPassword = errors.New("the password is empty or has characters that no login takes (RFC 4013)")
	errVerifier = errors.New("no verifier SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY")
)

// NewVerifier makes a verifier from a password, with a new salt.
func NewVerifier(password string, iterations int) (Verifier, error) {
	v := Verifier{Iterations: iterations, Salt: make([]byte, saltSize)}
	prepared, err := stringprep.SASLprep.Prepare(password)
	if err != nil || prepared == "" {
		return Verifier{}, errPassword
	}
	_, _ = rand.Read(v.Salt) // never fails
	v.StoredKey, v.ServerKey, err = v.keys(prepared)
	return v, err
}

// keys returns the keys of a prepared password.
func (v *Verifier) keys(password string) (stored, server [sha256.Size]byte, err error) {
	salted, err := pbkdf2.Key(sha256.New, password, v.Salt, v.Iterations, sha256.Size)
	if err != nil {
		return stored, server, err
	}
	sum := func(text string) (key [sha256.Size]byte) {
		mac := hmac.New(sha256.New, salted)
		mac.Write([]byte(text))
		return [sha256.Size]byte(mac.Sum(nil))
	}
	client := sum("Client Key")
	return sha256.Sum256(client[:]), sum("Server Key"), nil
}

// matches reports whether a password is the verifier's. It takes as long for any.
func (v *Verifier) matches(password string) bool {
	prepared, err := stringprep.SASLprep.Prepare(password)
	if err != nil {
		prepared = "" // which is no user's password
	}
	stored, _, failed := v.keys(prepared)
	return hmac.Equal(stored[:], v.StoredKey[:]) && err == nil && failed == nil && prepared != ""
}

// String is the form that RFC 5803 and PostgreSQL have.
func (v Verifier) String() string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", scheme, v.Iterations, b64(v.Salt), b64(v.StoredKey[:]), b64(v.ServerKey[:]))
}

// ParseVerifier parses that form. Its errors do not repeat it.
func ParseVerifier(text string) (Verifier, error) {
	var v Verifier
	words := strings.FieldsFunc(text, func(r rune) bool { return r == '$' || r == ':' })
	if len(words) != 5 || words[0] != scheme {
		return v, errVerifier
	}
	var keys [3][]byte
	for i := range keys {
		var err error
		if keys[i], err = base64.StdEncoding.Strict().DecodeString(words[i+2]); err != nil {
			return v, errVerifier
		}
	}
	v.Salt = keys[0]
	n, err := strconv.Atoi(words[1])
	if err != nil || n < minIterations || n > maxIterations {
		return v, fmt.Errorf("the iterations of a verifier are from %d to %d", minIterations, maxIterations)
	}
	v.Iterations = n
	if copy(v.StoredKey[:], keys[1]) != len(keys[1]) || copy(v.ServerKey[:], keys[2]) != len(keys[2]) ||
		len(keys[1]) != sha256.Size || len(keys[2]) != sha256.Size || len(v.Salt) == 0 || v.String() != text {
		return Verifier{}, errVerifier
	}
	return v, nil
}
