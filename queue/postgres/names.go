package postgres

import "strings"

// plain is the name of a destination as the database takes it, whose text can have no NUL
// and must be UTF-8. No destination has the character in their place, so such a name is
// that of none.
func plain(name string) string {
	const none = "\x7f"
	return strings.ReplaceAll(strings.ToValidUTF8(name, none), "\x00", none)
}

func plainAll(names []string) []string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = plain(name)
	}
	return list
}
