package address

import (
	"fmt"
	"strconv"
)

// Error is why something is no address. Input is what was given, escaped and
// cut to a length that fits a log line.
type Error struct {
	Input    string
	Reason   string
	Enhanced string // the status code of RFC 3463: 5.1.2 domain, 5.1.3 mailbox, 5.1.7 reverse-path
}

// Error quotes the input and says what is wrong with it.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Input, e.Reason) }

// shown is how much of a bad input an error repeats.
const shown = 80

func bad(input, enhanced, reason string) *Error {
	cut := ""
	if len(input) > shown {
		input, cut = input[:shown], "..."
	}
	return &Error{Input: strconv.QuoteToASCII(input) + cut, Reason: reason, Enhanced: enhanced}
}
