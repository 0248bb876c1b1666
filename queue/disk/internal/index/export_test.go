package index

import "unsafe"

// ChunkBytes is what a delivery takes in its chunk.
const ChunkBytes = unsafe.Sizeof(chunk{}) / chunkLen

// Steps is how often the index has gone one further in search of something, or looked at
// an entry or changed it.
func (x *Index) Steps() int { return x.steps + x.work }
