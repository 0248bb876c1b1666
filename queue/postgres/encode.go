package postgres

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// The database holds envelopes and states in an encoding of our own, since its text takes
// neither NUL nor what is no UTF-8: a version, then fields, each with a number and its
// length. A reader passes over fields that it does not know.

const encodingVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is a checksum as the database has it.
func sum(data []byte) int32 { return int32(crc32.Checksum(data, castagnoli)) }

// errEncoding is what cannot be decoded.
var errEncoding = errors.New("postgres: a stored value cannot be read")

// fields writes the fields of a value. Those that are zero are left out.
type fields []byte

func (f *fields) bytes(number int, value []byte) {
	*f = binary.AppendUvarint(*f, uint64(number))
	*f = binary.AppendUvarint(*f, uint64(len(value)))
	*f = append(*f, value...)
}

func (f *fields) text(number int, value string) {
	if value != "" {
		f.bytes(number, []byte(value))
	}
}

func (f *fields) number(number int, value int64) {
	if value != 0 {
		f.bytes(number, binary.AppendVarint(nil, value))
	}
}

func (f *fields) time(number int, t time.Time) {
	if !t.IsZero() {
		f.bytes(number, binary.AppendVarint(binary.AppendVarint(nil, t.Unix()), int64(t.Nanosecond())))
	}
}

// eachField calls field with each field of an encoded value, and wants no error of it.
func eachField(data []byte, field func(number int, value []byte) error) error {
	for len(data) > 0 {
		number, n := binary.Uvarint(data)
		if n <= 0 {
			return errEncoding
		}
		length, k := binary.Uvarint(data[n:])
		if k <= 0 || length > uint64(len(data)-n-k) {
			return errEncoding
		}
		data = data[n+k:]
		if err := field(int(number), data[:length]); err != nil {
			return err
		}
		data = data[length:]
	}
	return nil
}

func number(value []byte) (int64, error) {
	n, k := binary.Varint(value)
	if k <= 0 {
		return 0, errEncoding
	}
	return n, nil
}

func moment(value []byte) (time.Time, error) {
	seconds, n := binary.Varint(value)
	if n <= 0 {
		return time.Time{}, errEncoding
	}
	nanoseconds, k := binary.Varint(value[n:])
	if k <= 0 {
		return time.Time{}, errEncoding
	}
	return time.Unix(seconds, nanoseconds).UTC(), nil
}

// The numbers of a message's fields.
const (
	fieldFrom = iota + 1
	fieldRecipient
	fieldKey
	fieldMetadata
	fieldTenant
	fieldPriority
	fieldArrived
	fieldNotBefore
	fieldExpires
	fieldTLS
	fieldUTF8
	fieldGuarantee
	fieldEnvelopeID
	fieldReturn
	fieldSubmitter
)

// encodeMessage encodes a message but for its id and content.
func encodeMessage(m *queue.Message) []byte {
	f := fields{encodingVersion}
	f.text(fieldFrom, m.From)
	for i := range m.Recipients {
		r := &m.Recipients[i]
		var to fields
		to.text(1, r.Address)
		to.number(2, int64(r.Notify))
		to.text(3, r.OriginalType)
		to.text(4, r.Original)
		f.bytes(fieldRecipient, to)
	}
	f.text(fieldKey, m.Key)
	for name, value := range m.Metadata {
		var pair fields
		pair.text(1, name)
		pair.text(2, value)
		f.bytes(fieldMetadata, pair)
	}
	f.text(fieldTenant, m.Tenant)
	f.number(fieldPriority, int64(m.Priority))
	f.time(fieldArrived, m.Arrived)
	f.time(fieldNotBefore, m.NotBefore)
	f.time(fieldExpires, m.Expires)
	f.number(fieldTLS, int64(m.TLS))
	if m.UTF8 {
		f.number(fieldUTF8, 1)
	}
	f.number(fieldGuarantee, int64(m.Guarantee))
	f.text(fieldEnvelopeID, m.EnvelopeID)
	f.number(fieldReturn, int64(m.Return))
	f.text(fieldSubmitter, m.Submitter)
	return f
}

// decodeMessage is the message of an envelope, with all its recipients.
func decodeMessage(data []byte, want int32) (*queue.Message, error) {
	if len(data) == 0 || data[0] != encodingVersion || sum(data) != want {
		return nil, errEncoding
	}
	m := new(queue.Message)
	err := eachField(data[1:], func(n int, value []byte) error { return decodeField(m, n, value) })
	return m, err
}

func decodeField(m *queue.Message, n int, value []byte) (err error) {
	var v int64
	switch n {
	case fieldFrom:
		m.From = string(value)
	case fieldRecipient:
		var r queue.Recipient
		r, err = decodeRecipient(value)
		m.Recipients = append(m.Recipients, r)
	case fieldKey:
		m.Key = string(value)
	case fieldMetadata:
		if m.Metadata == nil {
			m.Metadata = make(map[string]string)
		}
		var pair [2]string
		err = eachField(value, func(n int, value []byte) error {
			if n == 1 || n == 2 {
				pair[n-1] = string(value)
			}
			return nil
		})
		m.Metadata[pair[0]] = pair[1]
	case fieldTenant:
		m.Tenant = string(value)
	case fieldPriority:
		v, err = number(value)
		m.Priority = int(v)
	case fieldArrived:
		m.Arrived, err = moment(value)
	case fieldNotBefore:
		m.NotBefore, err = moment(value)
	case fieldExpires:
		m.Expires, err = moment(value)
	case fieldTLS:
		v, err = number(value)
		m.TLS = queue.TLSRequirement(v)
	case fieldUTF8:
		m.UTF8 = true
	case fieldGuarantee:
		v, err = number(value)
		m.Guarantee = queue.Guarantee(v)
	case fieldEnvelopeID:
		m.EnvelopeID = string(value)
	case fieldReturn:
		v, err = number(value)
		m.Return = queue.Return(v)
	case fieldSubmitter:
		m.Submitter = string(value)
	}
	return err
}

func decodeRecipient(data []byte) (r queue.Recipient, err error) {
	err = eachField(data, func(n int, value []byte) (err error) {
		switch n {
		case 1:
			r.Address = string(value)
		case 2:
			var v int64
			v, err = number(value)
			r.Notify = queue.Notify(v)
		case 3:
			r.OriginalType = string(value)
		case 4:
			r.Original = string(value)
		}
		return err
	})
	return r, err
}

// encodeStates encodes the states of a delivery, with a checksum at the end.
func encodeStates(states []queue.State) []byte {
	f := fields{encodingVersion}
	for i := range states {
		f.bytes(1, encodeState(&states[i]))
	}
	return binary.BigEndian.AppendUint32(f, uint32(sum(f)))
}

func encodeState(s *queue.State) []byte {
	var one fields
	one.number(1, int64(s.Index))
	one.number(2, int64(s.Attempts))
	one.number(3, int64(s.Outcome))
	one.time(4, s.Tried)
	one.text(5, s.Reply.Host)
	one.text(6, s.Reply.Addr)
	one.number(7, int64(s.Reply.Code))
	one.text(8, s.Reply.Enhanced)
	one.text(9, s.Reply.Text)
	return one
}

// decodeStates are the states of a delivery, of which there is one at least.
func decodeStates(data []byte) (states []queue.State, err error) {
	end := len(data) - 4
	if end < 1 || data[0] != encodingVersion || uint32(sum(data[:end])) != binary.BigEndian.Uint32(data[end:]) {
		return nil, errEncoding
	}
	err = eachField(data[1:end], func(n int, value []byte) error {
		if n != 1 {
			return nil
		}
		s, err := decodeState(value)
		states = append(states, s)
		return err
	})
	if err == nil && len(states) == 0 {
		err = errEncoding
	}
	return states, err
}

func decodeState(data []byte) (s queue.State, err error) {
	err = eachField(data, func(n int, value []byte) (err error) {
		var v int64
		switch n {
		case 1:
			v, err = number(value)
			s.Index = int(v)
		case 2:
			v, err = number(value)
			s.Attempts = int(v)
		case 3:
			v, err = number(value)
			s.Outcome = queue.Outcome(v)
		case 4:
			s.Tried, err = moment(value)
		case 5:
			s.Reply.Host = string(value)
		case 6:
			s.Reply.Addr = string(value)
		case 7:
			v, err = number(value)
			s.Reply.Code = int(v)
		case 8:
			s.Reply.Enhanced = string(value)
		case 9:
			s.Reply.Text = string(value)
		}
		return err
	})
	return s, err
}
