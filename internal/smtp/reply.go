package smtp

import (
	"strconv"
	"strings"
)

// Reply is a server's reply (RFC 5321 section 4.2). The zero value means that there is
// none.
type Reply struct {
	// Code is the three-digit reply code. Decisions come from it alone.
	Code int

	// Enhanced is the enhanced status code, "5.1.1" (RFC 2034 section 4), where
	// the reply has a well-formed one whose class agrees with Code; else empty.
	Enhanced string

	// Text is the text after the code, including an enhanced status code, with the
	// lines joined by "\n". It is safe for a log or a report: control characters and
	// octets beyond ASCII are escaped as \xHH, and overlong lines are cut.
	Text string
}

// Class returns the first digit of the code: 2 for success, 4 for a temporary and 5 for
// a permanent failure, or 0 if there is no reply.
func (r *Reply) Class() int { return r.Code / 100 }

// Positive reports whether the reply is 2yz.
func (r *Reply) Positive() bool { return r.Class() == 2 }

// Negative reports whether the reply is 4yz or 5yz.
func (r *Reply) Negative() bool { return r.Class() == 4 || r.Class() == 5 }

// Lines is the text line by line.
func (r *Reply) Lines() []string {
	if r.Code == 0 {
		return nil
	}
	return strings.Split(r.Text, "\n")
}

// String is the reply on one line.
func (r *Reply) String() string {
	if r.Text == "" {
		return strconv.Itoa(r.Code)
	}
	return strconv.Itoa(r.Code) + " " + strings.ReplaceAll(r.Text, "\n", " / ")
}
