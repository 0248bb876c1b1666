package crashfs

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
)

// sector is the most a disk writes in one piece.
const sector = 512

// Restart cuts the power, if it is not cut yet, and returns what the machine
// finds when it comes back. Files open in f answer ErrPowerCut. Calling it
// again draws another of the states the disk may be in.
func (f *FS) Restart() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.off = true
	g := New(f.rng.Uint64())
	g.device, g.meanwhile = f.device, f.meanwhile
	dir := f.directory()
	for _, name := range slices.Sorted(maps.Keys(dir)) { // in order: one seed, one outcome
		image := f.survivors(dir[name], true)
		g.names[name] = &inode{seen: image, durable: bytes.Clone(image), bad: dir[name].bad}
	}
	for name, n := range g.names {
		g.durable[name] = n
	}
	return g
}

// Kill ends the program but not the machine: what it wrote stays, its locks
// and open files go.
func (f *FS) Kill() *FS {
	f.mu.Lock()
	f.off = true
	f.mu.Unlock()
	return f.Copy()
}

// Copy is the same disk a second time, as a program that is started now would
// see it.
func (f *FS) Copy() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := New(f.rng.Uint64())
	g.device, g.meanwhile = f.device, f.meanwhile
	for name, n := range f.names {
		g.names[name] = n.clone()
	}
	same := map[*inode]*inode{}
	for name, n := range f.names {
		same[n] = g.names[name]
	}
	twin := func(n *inode) *inode {
		if n != nil && same[n] == nil {
			same[n] = n.clone()
		}
		return same[n]
	}
	for name, n := range f.durable {
		g.durable[name] = twin(n)
	}
	for _, op := range f.pending {
		op.inode = twin(op.inode)
		g.pending = append(g.pending, op)
	}
	return g
}

// Flip inverts bits of one byte of a file, on the disk and in what is seen.
func (f *FS) Flip(name string, off int64, mask byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.names[name]
	n.seen[off] ^= mask
	if off < int64(len(n.durable)) {
		n.durable[off] ^= mask
	}
}

// directory draws which changes of the directory reached the disk.
func (f *FS) directory() map[string]*inode {
	dir := map[string]*inode{}
	for name, n := range f.durable {
		dir[name] = n
	}
	keep := f.chances()
	for _, op := range f.pending {
		if keep() {
			op.apply(dir)
		}
	}
	return dir
}

// chances draws how a run of unsaved changes fares: none of it, all of it, the
// first of it, or each change for itself.
func (f *FS) chances() func() bool {
	switch f.rng.IntN(5) {
	case 0:
		return func() bool { return false }
	case 1:
		return func() bool { return true }
	case 2:
		on := true
		return func() bool {
			on = on && f.rng.IntN(4) != 0
			return on
		}
	default:
		p := f.rng.Float64()
		return func() bool { return f.rng.Float64() < p }
	}
}

// survivors draws what of n's unsaved changes reached the disk, at a power cut or
// at a sync that failed.
func (f *FS) survivors(n *inode, cut bool) []byte {
	image := bytes.Clone(n.durable)
	keep := f.chances()
	rubbish := f.rng.IntN(4) == 0
	for _, c := range n.pending {
		if c.data == nil {
			if keep() {
				image = c.apply(image)
			}
			continue
		}
		if f.rng.IntN(3) == 0 { // the size is saved before the bytes
			before := int64(len(image))
			image = resize(image, max(before, c.off+int64(len(c.data))))
			if rubbish && int64(len(image)) > before {
				fill(f.rng, image[before:])
			}
		}
		for _, piece := range pieces(c) {
			if !keep() {
				continue
			}
			if f.rng.IntN(16) == 0 { // torn within the sector
				if cut {
					f.shear(image, piece.off)
				}
				piece.data = piece.data[:f.rng.IntN(len(piece.data))]
			}
			if len(piece.data) > 0 {
				image = piece.apply(image)
			}
		}
	}
	return image
}

// shear makes rubbish of some of the block in which a write was torn.
func (f *FS) shear(image []byte, off int64) {
	if f.device.Shears <= 0 {
		return
	}
	from := off - off%f.device.Shears
	to := min(from+f.device.Shears, int64(len(image)))
	for ; from < to; from += sector {
		if f.rng.IntN(2) == 0 {
			fill(f.rng, image[from:min(from+sector, to)])
		}
	}
}

// pieces cuts a write where the disk's sectors do.
func pieces(c change) []change {
	var list []change
	for len(c.data) > 0 {
		n := min(int64(len(c.data)), sector-c.off%sector)
		list = append(list, change{c.off, c.data[:n]})
		c.off, c.data = c.off+n, c.data[n:]
	}
	return list
}

func fill(rng *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}
