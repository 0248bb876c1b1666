package smarthost

// Error says what is wrong with a notation or a Host. It contains no secret.
type Error struct {
	// Input is the part of the notation that is certainly not secret: the scheme and, if
	// it is valid, the host.
	Input string
	// Reason says what is wrong.
	Reason string
	// Unsupported is set if the notation is correct but asks for something unknown, such
	// as an authentication mechanism.
	Unsupported bool
}

// Error returns the input and the reason.
func (e *Error) Error() string {
	if e.Input == "" {
		return "smart host: " + e.Reason
	}
	return "smart host " + e.Input + ": " + e.Reason
}

// malformed returns the Error of an invalid notation. The caller, which knows what may
// be shown, sets its Input.
func malformed(reason string) *Error { return &Error{Reason: reason} }
