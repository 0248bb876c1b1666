package attempt

import (
	"sync"

	"github.com/nexthop-mail/nexthop/internal/content"
)

const (
	// mostSubmitted bounds the memory for contents of messages just submitted, and
	// mostOfOne the length of one. A content takes ofEach octets beside its own.
	mostSubmitted = 4 << 20
	mostOfOne     = 64 << 10
	ofEach        = 512
)

// Submitted has copies of the contents of messages that an agent has just put into the
// queue, for their first attempt. Most messages are sent at once, and to read a content
// again and to find out again what it is costs more than to copy it. The zero value is
// ready.
type Submitted struct {
	mu        sync.Mutex
	on        bool // while the agent runs
	young     map[string]*content.Body
	old       map[string]*content.Body
	youngSize int64
}

// SwitchOn has contents be kept from now on, or no longer.
func (s *Submitted) SwitchOn(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on, s.young, s.old, s.youngSize = on, nil, nil, 0
}

// Keep keeps a copy of the content of a message. Once there are too many, those that were
// kept first go.
func (s *Submitted) Keep(id string, body *content.Body) {
	if body.Streams() || body.Octets > mostOfOne {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.on {
		return
	}
	b := body.Copy()
	size := sizeOf(&b)
	if s.young == nil || s.youngSize+size > mostSubmitted/2 {
		for _, o := range s.old {
			o.Release()
		}
		clear(s.old)
		s.young, s.old, s.youngSize = s.old, s.young, 0
		if s.young == nil {
			s.young = make(map[string]*content.Body)
		}
	}
	s.young[id] = &b
	s.youngSize += size
}

// sizeOf is how much memory a content that is kept takes.
func sizeOf(b *content.Body) int64 { return b.Held() + ofEach }

// Take returns the content of a message, whose Release is up to the caller, or nil.
func (s *Submitted) Take(id string) *content.Body {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.young[id]
	if b != nil {
		delete(s.young, id)
		s.youngSize -= sizeOf(b)
		return b
	}
	b = s.old[id]
	delete(s.old, id)
	return b
}
