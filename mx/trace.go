package mx

import "time"

// Trace are hooks that a Client and a HostLookup call while they work. Any of them
// may be nil. They are called by whoever asked, several at the same time, and hold up
// the question: they must return at once.
type Trace struct {
	// Without is called when a server that did not answer with some means has
	// answered without: what it was, what the failure looked like, and for how
	// long the server is asked without.
	Without func(server string, m Means, why error, remain time.Duration)

	// Read is called when a file has been read: the first time, and when it has
	// changed. ignored is what it asks for and does not get, one entry each. With
	// an err the file has become of no use, and what it said before stays in
	// force; it is told once.
	Read func(file string, ignored []string, err error)
}

func (t *Trace) without(server string, m Means, why error, remain time.Duration) {
	if t != nil && t.Without != nil {
		t.Without(server, m, why, remain)
	}
}

func (t *Trace) read(file string, ignored []string, err error) {
	if t != nil && t.Read != nil {
		t.Read(file, ignored, err)
	}
}
