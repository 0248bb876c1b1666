package record

import (
	"maps"
	"slices"

	"github.com/nexthop-mail/nexthop/queue"
)

// Message is the envelope of a message without its recipients, which are in its
// deliveries. The frame's body is the content, unless that is in a separate file.
type Message struct {
	ID       uint64
	Envelope queue.Message // ID, Recipients and Content are not stored
	Size     uint32        // of the content
	InFile   bool          // the content is in the file of that number
	Moved    uint64        // the segment this copy was moved from; 0 if none
}

// The flags of a message.
const (
	messageInFile    = 1
	messageUTF8      = 2
	messageSubmitter = 4
)

// Append appends the head.
func (m *Message) Append(b []byte) []byte {
	e := encoder(b)
	flags := uint64(0)
	if m.InFile {
		flags |= messageInFile
	}
	v := &m.Envelope
	if v.UTF8 {
		flags |= messageUTF8
	}
	if v.Submitter != "" {
		flags |= messageSubmitter
	}
	e.uint(m.ID)
	e.uint(flags)
	e.uint(uint64(m.Size))
	e.uint(m.Moved)
	e.string(v.From)
	e.string(v.Key)
	e.string(v.Tenant)
	e.string(v.EnvelopeID)
	if v.Submitter != "" {
		e.string(v.Submitter)
	}
	e.int(int64(v.Priority))
	e.time(v.Arrived)
	e.time(v.NotBefore)
	e.time(v.Expires)
	e.uint(uint64(v.TLS))
	e.uint(uint64(v.Guarantee))
	e.uint(uint64(v.Return))
	e.uint(uint64(len(v.Metadata)))
	if len(v.Metadata) == 0 {
		return e
	}
	for _, k := range slices.Sorted(maps.Keys(v.Metadata)) {
		e.string(k)
		e.string(v.Metadata[k])
	}
	return e
}

// ParseMessage reads a head. It fails with ErrDamaged.
func ParseMessage(b []byte) (Message, error) {
	d := decoder{b: b}
	var m Message
	v := &m.Envelope
	m.ID = d.uint()
	flags := d.uint()
	m.InFile, v.UTF8 = flags&messageInFile != 0, flags&messageUTF8 != 0
	m.Size = d.uint32()
	m.Moved = d.uint()
	v.From, v.Key, v.Tenant, v.EnvelopeID = d.string(), d.string(), d.string(), d.string()
	if flags&messageSubmitter != 0 {
		v.Submitter = d.string()
	}
	v.Priority = int(d.int())
	v.Arrived, v.NotBefore, v.Expires = d.time(), d.time(), d.time()
	v.TLS = queue.TLSRequirement(d.uint())
	v.Guarantee = queue.Guarantee(d.uint())
	v.Return = queue.Return(d.uint())
	if n := d.count(2); n > 0 {
		v.Metadata = make(map[string]string, n)
		for range n {
			k := d.string()
			v.Metadata[k] = d.string()
		}
	}
	return m, d.done()
}
