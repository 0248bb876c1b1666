// Package keys remembers the keys of messages that have left: which message it was and
// when, for a limited time and number.
//
// They are kept in generations, in the order in which their messages left, each in a
// separate file. In memory a key costs about 16 bytes: half a slot of a hash table that
// has 46 bits of its hash and the place of its entry, so that a match must be looked up
// in the file. Keys that are too old or too many are forgotten by whole generations.
// Tables grow in parts, and entries that are not in a file yet wait in pieces, so that
// all keys take the same time.
//
// Nothing here reads or writes a file or a clock, or is safe for concurrent use.
package keys
