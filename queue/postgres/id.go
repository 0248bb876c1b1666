package postgres

import (
	"crypto/rand"
	"encoding/binary"
	"strconv"
	"strings"
)

// An id is the message's number and its tag in base 32, 13 and 7 digits, so ids are in
// the order of the numbers. The number comes from a sequence, which may go back if a
// server fails over to one that lacks the last changes. The tag is random, so that an
// id is not given twice even then.
const (
	numberDigits = 13
	tagDigits    = 7
)

func formatID(number int64, tag int32) string {
	a, b := strconv.FormatUint(uint64(number), 32), strconv.FormatUint(uint64(uint32(tag)), 32)
	return strings.Repeat("0", numberDigits-len(a)) + a + strings.Repeat("0", tagDigits-len(b)) + b
}

// parseID reports false for what is no id.
func parseID(id string) (number int64, tag int32, ok bool) {
	if len(id) != numberDigits+tagDigits {
		return 0, 0, false
	}
	a, err := strconv.ParseUint(id[:numberDigits], 32, 63)
	if err != nil {
		return 0, 0, false
	}
	b, err := strconv.ParseUint(id[numberDigits:], 32, 32)
	if err != nil || formatID(int64(a), int32(b)) != id {
		return 0, 0, false
	}
	return int64(a), int32(b), true
}

// after is the number after which a list goes on: of an id, or of whatever is compared
// with ids as text.
func after(id string) int64 {
	if number, _, ok := parseID(id); ok {
		return number
	}
	return 0
}

// random is 62 random bits.
func random() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // which never fails
	return int64(binary.NativeEndian.Uint64(b[:]) >> 2)
}
