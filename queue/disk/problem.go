package disk

import "fmt"

// Problem is damage in the directory.
type Problem struct {
	// File is the name of the file. Offset is the place in it, or -1 for the whole file.
	File   string
	Offset int64

	// Messages are the ids of the messages that cannot be delivered because of it, as far
	// as they are known.
	Messages []string

	// Err describes the damage.
	Err error
}

// String returns the problem in one line.
func (p Problem) String() string {
	s := p.File
	if p.Offset >= 0 {
		s = fmt.Sprintf("%s at %d", s, p.Offset)
	}
	s = fmt.Sprintf("%s: %v", s, p.Err)
	if len(p.Messages) > 0 {
		s = fmt.Sprintf("%s; messages %v", s, p.Messages)
	}
	return s
}
