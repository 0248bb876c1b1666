package smarthost

// Error is why a notation, or a host, makes no sense. It contains no secret.
type Error struct {
	// Input is what was read, as far as it can be shown: the scheme, and the host
	// if it is one.
	Input string
	// Reason is what is wrong with it.
	Reason string
	// Unsupported is set if the notation is right and asks for something that
	// does not exist here: an authentication mechanism nobody has heard of.
	Unsupported bool
}

// Error is the input and the reason.
func (e *Error) Error() string {
	if e.Input == "" {
		return "smart host: " + e.Reason
	}
	return "smart host " + e.Input + ": " + e.Reason
}

// malformed is the Error of a notation that cannot be read. It is given its Input
// by whoever knows what of it may be shown.
func malformed(reason string) *Error { return &Error{Reason: reason} }
