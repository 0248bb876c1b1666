package index

import "unsafe"

// ChunkBytes is what a delivery takes in its chunk.
const ChunkBytes = unsafe.Sizeof(chunk{}) / chunkLen
