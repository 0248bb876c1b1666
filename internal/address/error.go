package address

import "strconv"

// The status codes of RFC 3463 section 3.2 that Error.Enhanced can have.
const (
	badDomain  = "5.1.2"
	badMailbox = "5.1.3"
	badReverse = "5.1.7"
)

// Error is why something is no address.
type Error struct {
	Input    string // what was given: quoted, escaped, and cut to what fits a log line
	Reason   string // what is wrong with it
	Enhanced string // the status code of RFC 3463: 5.1.2 domain, 5.1.3 mailbox, 5.1.7 reverse-path
}

// Error quotes the input and says what is wrong with it.
func (e *Error) Error() string { return e.Input + ": " + e.Reason }

// shown is how many octets of a bad input an error repeats.
const shown = 80

func bad(input, enhanced, reason string) *Error {
	cut := ""
	if len(input) > shown {
		input, cut = input[:shown], "..."
	}
	return &Error{Input: strconv.QuoteToASCII(input) + cut, Reason: reason, Enhanced: enhanced}
}
