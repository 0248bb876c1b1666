package disk

import (
	"strconv"
	"strings"
)

// A message's id is its number in base 32, of a fixed length, so that ids sort
// as strings in the order in which they were given.
const idLen = 10

// formatID returns the id of a message's number.
func formatID(number uint64) string {
	id := strconv.FormatUint(number, 32)
	return strings.Repeat("0", idLen-len(id)) + id
}

// parseID returns the number of an id; false where no id looks like that.
func parseID(id string) (uint64, bool) {
	if len(id) != idLen {
		return 0, false
	}
	n, err := strconv.ParseUint(id, 32, 48)
	return n, err == nil && formatID(n) == id
}
