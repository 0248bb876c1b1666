package bench

import (
	"encoding/binary"
	"errors"
)

// op is a put, or a deletion where record is nil.
type op struct {
	id          uint64
	record, due []byte
	done        chan error
}

// group hands the operations of all callers to one goroutine, which applies in
// one transaction whatever waits.
type group struct {
	ops   chan op
	ended chan struct{}
}

// mostAtOnce is how many operations go into one transaction.
const mostAtOnce = 256

func newGroup(apply func([]op) error) *group {
	g := &group{ops: make(chan op, mostAtOnce), ended: make(chan struct{})}
	go func() {
		defer close(g.ended)
		for first := range g.ops {
			list := []op{first}
			for more := true; more && len(list) < mostAtOnce; {
				select {
				case o, ok := <-g.ops:
					if more = ok; ok {
						list = append(list, o)
					}
				default:
					more = false
				}
			}
			err := apply(list)
			for _, o := range list {
				o.done <- err
			}
		}
	}()
	return g
}

func (g *group) do(o op) error {
	o.done = make(chan error, 1)
	g.ops <- o
	return <-o.done
}

func (g *group) close() {
	close(g.ops)
	<-g.ended
}

func key(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

var errMissing = errors.New("what was put is not there")
