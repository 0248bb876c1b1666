// Package keys remembers the keys of messages that have left: which message it was
// and when, for a time and up to a number.
//
// They are kept in generations, in the order in which their messages left, each in
// a file of its own. In memory a key costs about 16 bytes: half a slot of a hash
// table that has 46 bits of its hash and says where its entry is, so that a match
// must be looked up in the file. What is too old or too much goes with a
// whole generation, at once. Tables grow in parts, and what is not in its file yet
// waits in pieces, so that one key takes as long as another.
//
// Nothing here reads or writes a file or a clock, or is safe for concurrent use.
package keys
