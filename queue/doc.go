// Package queue says what is still to be delivered: the nouns every other
// package speaks of (Message, Recipient, Content, Outcome).
package queue
