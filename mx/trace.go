package mx

import "time"

// Trace has hooks for a Client and a HostLookup. Any of them may be nil. They are called
// in the goroutine that asks, and may be called several times at once. They must return at
// once, because the question waits for them.
type Trace struct {
	// Without is called when a server has answered without some means, after it failed
	// with them. why is that failure, and remain is for how long the server is asked
	// without them.
	Without func(server string, m Means, why error, remain time.Duration)

	// Read is called when a file has been read, the first time and after each change.
	// ignored lists the settings in the file that are ignored. If err is not nil, the file
	// can no longer be used, and its previous content stays in force; this is reported
	// once.
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
