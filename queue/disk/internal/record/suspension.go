package record

import "github.com/nexthop-mail/nexthop/queue"

// AppendSuspension appends the head of the record of a suspension.
func AppendSuspension(b []byte, s *queue.Suspension) []byte {
	e := encoder(b)
	e.uint(uint64(s.Kind))
	e.string(s.Name)
	e.terms(&s.Terms)
	return e
}

// ParseSuspension reads a head. It fails with ErrDamaged.
func ParseSuspension(b []byte) (queue.Suspension, error) {
	d := decoder{b: b}
	s := queue.Suspension{Subject: queue.Subject{Kind: queue.SubjectKind(d.uint()), Name: d.string()}, Terms: d.terms()}
	return s, d.done()
}

func (e *encoder) terms(t *queue.Terms) {
	e.time(t.Since)
	e.time(t.Until)
	e.string(t.Reason)
}

func (d *decoder) terms() queue.Terms {
	return queue.Terms{Since: d.time(), Until: d.time(), Reason: d.string()}
}
