package login

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/xdg-go/stringprep"
)

// User is a user who may log in.
type User struct {
	// Name is what he logs in with.
	Name     string
	Verifier Verifier

	// Addresses are those that his mail may come from. "@example.com" is every
	// address of a domain, "*" is any.
	Addresses []string
}

// MaySendFrom reports whether the user's mail may come from an address. All users may
// use the null reverse-path, for notifications.
func (u *User) MaySendFrom(address string) bool {
	if address == "" {
		return true
	}
	at := max(strings.LastIndexByte(address, '@'), 0)
	return slices.ContainsFunc(u.Addresses, func(a string) bool {
		if a[0] == '@' {
			return at > 0 && strings.EqualFold(a, address[at:])
		}
		return a == "*" || strings.EqualFold(a, address)
	})
}

// Users are the users of a file. The zero value has none.
type Users struct {
	users  map[string]*User
	secret []byte // makes the salts of users who do not exist
}

// Read reads a file with one line per user: a name, a verifier, and addresses. A name
// that is an address needs no others. Empty lines and lines that begin with # are
// ignored. Errors name the line, and do not repeat a verifier.
func Read(file string) (*Users, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	users, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return users, nil
}

func parse(text []byte) (*Users, error) {
	u := &Users{users: make(map[string]*User)}
	var problems []error
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		user, err := parseLine(lines.Text())
		if err == nil && user != nil && u.users[user.Name] != nil {
			err = fmt.Errorf("%s is there twice", user.Name)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", n, err))
		} else if user != nil {
			u.users[user.Name] = user
		}
	}
	// The salt of a user who does not exist must not change from one restart to the
	// next, because that of an existing user would not.
	names := slices.Sorted(maps.Keys(u.users))
	sum := sha256.New()
	for _, name := range names {
		sum.Write(u.users[name].Verifier.ServerKey[:])
	}
	u.secret = sum.Sum(nil)
	return u, errors.Join(append(problems, lines.Err())...)
}

// parseLine returns nil for an empty line or a comment.
func parseLine(line string) (*User, error) {
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil, nil
	}
	if len(words) == 1 {
		return nil, errVerifier
	}
	v, err := ParseVerifier(words[1])
	if err != nil {
		return nil, err
	}
	u := &User{Name: words[0], Verifier: v, Addresses: words[2:]}
	return u, u.check()
}

// check detects invalid data, and adds the user's own address if the name is one.
func (u *User) check() error {
	prepared, err := stringprep.SASLprep.Prepare(u.Name)
	if err != nil || prepared != u.Name || u.Name == "" || strings.HasPrefix(u.Name, "#") || strings.ContainsAny(u.Name, " \t\r\n") {
		return fmt.Errorf("%q is not a user name (RFC 4013)", u.Name)
	}
	if len(u.Addresses) == 0 && strings.Contains(u.Name, "@") {
		u.Addresses = []string{u.Name}
	}
	if len(u.Addresses) == 0 {
		return fmt.Errorf("the user %s needs a list of sender addresses, because the name is not an address", u.Name)
	}
	for _, a := range u.Addresses {
		if a != "*" && !strings.Contains(a, "@") || strings.ContainsAny(a, " \t\r\n,;<>") {
			return fmt.Errorf("%q is neither an address nor @ and a domain nor *", a)
		}
	}
	return nil
}

// Find returns a user by name, or nil if there is none.
func (u *Users) Find(name string) *User { return u.users[name] }

// find is the user of a name as a client gives it, and whether there is one. One who
// does not exist has a verifier, too, that no password fits.
func (u *Users) find(name string) (user *User, known bool) {
	if prepared, err := stringprep.SASLprep.Prepare(name); err == nil && u.users[prepared] != nil {
		return u.users[prepared], true
	}
	mac := hmac.New(sha256.New, u.secret)
	mac.Write([]byte(name))
	sum := mac.Sum(nil)
	return &User{Verifier: Verifier{Iterations: u.iterations(), Salt: sum[:saltSize]}}, false
}

// iterations are those that most users have.
func (u *Users) iterations() (most int) {
	count := make(map[int]int)
	for _, user := range u.users {
		n := user.Verifier.Iterations
		if count[n]++; most == 0 || count[n] > count[most] || count[n] == count[most] && n < most {
			most = n
		}
	}
	if most == 0 {
		return DefaultIterations
	}
	return most
}
