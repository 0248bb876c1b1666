package index

// Arrival is a message with very many deliveries that is added to the index in parts:
// first Add for each delivery, then Appear, and then Queue until there are no more. The
// message cannot be found before Appear, and a delivery cannot be claimed before Queue
// has reached it. There can be only one Arrival at a time.
type Arrival struct {
	x       *Index
	message uint64
	size    uint32
	slots   paged[Slot]
	queued  int
}

// Arrive begins one.
func (x *Index) Arrive(message uint64) *Arrival {
	x.arriving = message
	return &Arrival{x: x, message: message}
}

func (x *Index) hides(message uint64) bool { return message == x.arriving }

// Add adds a delivery.
func (a *Arrival) Add(e Entry) {
	e.Flags |= arriving
	a.size = e.Size
	a.slots.push(a.x.add(&e, false))
}

// Appear is for when all have been added: the message is there from now on.
func (a *Arrival) Appear() {
	a.x.arriving = 0
	a.x.arrived(a.message, a.size)
}

// Queue has so many deliveries be claimed when they are due, and reports whether there
// are more.
func (a *Arrival) Queue(most int) (more bool) {
	for ; a.queued < a.slots.n && most > 0; most-- {
		s := *a.slots.at(a.queued)
		a.queued++
		if a.x.Is(s, a.message) && a.x.flags(s)&arriving != 0 {
			a.x.setFlag(s, arriving, false)
			a.x.queue(s)
		}
	}
	return a.queued < a.slots.n
}
