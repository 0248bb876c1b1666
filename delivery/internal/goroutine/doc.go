// Package goroutine has what the goroutines of an agent do their work with: a [Pool]
// runs work on goroutines that it keeps for more, and a [Signal] wakes one that waits.
//
// It does not know what the work is. A Pool starts no goroutine but by [Pool.Go], and
// [Pool.End] waits for all of them. The zero values are ready to use, and all methods are
// safe for concurrent use.
package goroutine
