package disk

import "strings"

// A message's id is its number in base 32, of a fixed length, so that ids sort
// as strings in the order in which they were given.
const (
	idLen  = 10
	idBits = 5 // of the number, in each digit
	digits = "0123456789abcdefghijklmnopqrstuv"
)

// formatID returns the id of a message's number, which has at most 48 bits.
func formatID(number uint64) string {
	var id [idLen]byte
	for i := idLen - 1; i >= 0; i-- {
		id[i] = digits[number%(1<<idBits)]
		number >>= idBits
	}
	return string(id[:])
}

// parseID returns the number of an id, or zero, which no message has, and false if it is
// not a valid id.
func parseID(id string) (number uint64, ok bool) {
	if len(id) != idLen {
		return 0, false
	}
	for i := range idLen {
		d := strings.IndexByte(digits, id[i])
		if d < 0 {
			return 0, false
		}
		number = number<<idBits | uint64(d)
	}
	if number >= 1<<48 {
		return 0, false
	}
	return number, true
}
