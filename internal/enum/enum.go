// Package enum gives the values of enumerations their text: one word each, for logs,
// JSON and labels, which can be read back.
package enum

import (
	"fmt"
	"strings"
)

// String is the name of a value, or what it is with its number if it has none, such as
// "mx.Via(9)". The names are in the order of the values, from zero.
func String[T ~uint8](what string, names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%s(%d)", what, uint8(v))
}

// Marshal is the name of a value as text. It fails for a value that has none.
func Marshal[T ~uint8](what string, names []string, v T) ([]byte, error) {
	if int(v) < len(names) {
		return []byte(names[v]), nil
	}
	return nil, fmt.Errorf("%s(%d) has no name", what, uint8(v))
}

// Unmarshal sets a value by its name. For any other text it fails and leaves the value
// as it is.
func Unmarshal[T ~uint8](what string, names []string, v *T, text []byte) error {
	for i, name := range names {
		if string(text) == name {
			*v = T(i)
			return nil
		}
	}
	return fmt.Errorf("%s: unknown value %.40q; want one of %s", what, text, strings.Join(names, ", "))
}
