// Package reports decides who receives which report, by mail, about mail that failed or
// is late.
//
// A [Writer] is called for one settlement, a [Subject]:
//
//  1. [Writer.Write] chooses the recipients about whose failure the sender must be
//     told, and those about whose delay, by what the message asks for (RFC 3461 section
//     5.2); mail without a sender causes no report (RFC 5321 section 4.5.5);
//  2. it makes one report of each kind that is needed, as package dsn writes them; that
//     of delay is about all recipients of the message that still wait. It makes the
//     message that carries the report, with a key that is the same each time the same
//     is reported, and with the transport requirements of the original message;
//  3. it has the report signed, if there is a Sign hook;
//  4. the caller creates the messages of the [Notice] list in the queue, in one step
//     with the settlement. [Notice.Unsign] is for a queue that accepts one only without
//     its signature.
//
// The text of a report is made when the queue reads it: the original message is opened
// then, and is never in memory as a whole.
package reports
