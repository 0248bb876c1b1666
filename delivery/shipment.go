package delivery

import (
	"time"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// shipment is deliveries of one message to one site: they go together.
type shipment struct {
	parts []part
	rcpts int
}

// part is one delivery of a shipment, and where it goes.
type part struct {
	delivery *queue.Delivery
	route    mx.Route
	asked    time.Time // when the route was found
}

// maxJoined is how many recipients a shipment has before the next begins.
const maxJoined = 5000

func (sh *shipment) add(p part) {
	sh.parts = append(sh.parts, p)
	sh.rcpts += len(p.delivery.Message.Recipients)
}

// joins reports whether a part may go along with the others, as far as the
// routes tell: the same site they are.
func (sh *shipment) joins(p *part) bool {
	first := &sh.parts[0].route
	return sh.rcpts+len(p.delivery.Message.Recipients) <= maxJoined &&
		first.Kind == p.route.Kind && first.Secure == p.route.Secure &&
		(first.Fallback == nil) == (p.route.Fallback == nil)
}

// push lets a delivery wait for its turn at the site, with others of its
// message where there are any. The caller holds r.mu.
func (s *site) push(p part) {
	s.claimed++
	id := p.delivery.Message.ID
	if sh := s.byMessage[id]; sh != nil && sh.joins(&p) {
		sh.add(p)
		return
	}
	sh := &shipment{}
	sh.add(p)
	s.waiting.push(sh)
	s.byMessage[id] = sh
}

// pop takes the next shipment. The caller holds r.mu.
func (s *site) pop() *shipment {
	sh := s.waiting.pop()
	if sh == nil {
		return nil
	}
	id := sh.parts[0].delivery.Message.ID
	if s.byMessage[id] == sh {
		delete(s.byMessage, id)
	}
	return sh
}

// message is the message of the shipment with the recipients of all its parts.
func (sh *shipment) message(content queue.Content) queue.Message {
	m := sh.parts[0].delivery.Message
	m.Content = content
	if len(sh.parts) > 1 {
		m.Recipients = make([]queue.Recipient, 0, sh.rcpts)
		for i := range sh.parts {
			m.Recipients = append(m.Recipients, sh.parts[i].delivery.Message.Recipients...)
		}
	}
	return m
}
