package content

import (
	"bytes"
	"io"
)

// maxInMemory is how long content may be to be held in memory by us. A longer
// stream is read twice, to be known and to be sent.
const maxInMemory = 1 << 20

// prepareBytes looks at octets in memory.
func prepareBytes(s Source, data []byte, p Policy) (Body, error) {
	if announced := s.Size(); announced >= 0 && announced != int64(len(data)) {
		return Body{}, errLength
	}
	var sc scanner
	sc.add(data)
	sc.end()
	if err := p.check(&sc); err != nil {
		return Body{}, err
	}
	b := Body{Facts: sc.facts()}
	switch {
	case sc.canonical():
		b.data = data
	case len(data) <= maxInMemory:
		b.buffer = borrow(int(b.Octets))
		b.buffer.octets = appendCanonical(b.buffer.octets, data)
		b.data = b.buffer.octets
	default:
		return prepareStream(s, func(r io.Reader) (Body, error) { return scanLong(s, r, p) })
	}
	h := borrowHeaders()
	h.topOnly = !b.EightBit
	h.add(b.data)
	h.tell(&b.Facts)
	h.giveBack()
	return b, nil
}

// prepareStream opens a source for reading and closes it.
func prepareStream(s Source, read func(io.Reader) (Body, error)) (Body, error) {
	r, err := s.Open()
	if err != nil {
		return Body{}, unreadable(err)
	}
	b, err := read(r)
	if cerr := r.Close(); cerr != nil && err == nil {
		b.Release()
		err = unreadable(cerr)
	}
	return b, err
}

// readStream reads a stream into memory, if it is short.
func readStream(s Source, r io.Reader, p Policy) (Body, error) {
	raw := borrow(int(min(max(s.Size(), 0), maxInMemory)) + 1) // one more, to see the end
	if err := raw.readFrom(r); err != nil {
		raw.giveBack()
		return Body{}, unreadable(err)
	}
	if len(raw.octets) > maxInMemory {
		defer raw.giveBack()
		return scanLong(s, io.MultiReader(bytes.NewReader(raw.octets), r), p)
	}
	b, err := prepareBytes(s, raw.octets, p)
	if err != nil || b.buffer != nil { // its octets are of no use, or were copied
		raw.giveBack()
		return b, err
	}
	b.buffer = raw
	return b, nil
}

// scanLong reads content through that is not to be held in memory.
func scanLong(s Source, r io.Reader, p Policy) (Body, error) {
	var (
		sc      scanner
		lines   normaliser
		sum     checksum
		headers = borrowHeaders()
	)
	defer headers.giveBack()
	raw, out := borrow(pieceSize), borrow(2*pieceSize)
	defer raw.giveBack()
	defer out.giveBack()
	for {
		n, err := readPiece(r, raw.octets[:pieceSize])
		piece := raw.octets[:n]
		sum.add(piece)
		sc.add(piece)
		headers.add(lines.append(out.octets[:0], piece))
		if err == io.EOF {
			break
		}
		if err != nil {
			return Body{}, unreadable(err)
		}
	}
	sc.end()
	if announced := s.Size(); announced >= 0 && announced != sc.octets {
		return Body{}, errLength
	}
	if err := p.check(&sc); err != nil {
		return Body{}, err
	}
	b := Body{Facts: sc.facts(), source: s, sum: uint32(sum)}
	headers.tell(&b.Facts)
	return b, nil
}
