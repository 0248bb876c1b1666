// Package reports is who is told what of mail that failed or is late, by mail.
//
// A [Writer] is asked about one settlement, a [Subject]:
//
//  1. [Writer.Write] chooses the recipients whose failure the sender is to be
//     told of, and those whose delay, by what the message asks for (RFC 3461
//     section 5.2); mail without a sender causes no report (RFC 5321 section
//     4.5.5);
//  2. it makes one report of each kind there is somebody to tell of, that of delay
//     about all of the message who wait, as package
//     dsn writes them, and the message that carries it: with a key that is the
//     same each time the same is told, and with what the message asked of its
//     transport;
//  3. it has that signed, where there is somebody to sign;
//  4. the caller creates the messages of the [Notice] list in the queue, in one
//     step with the settlement. [Notice.Unsign] is for a queue that takes one only
//     without its signature.
//
// A report is text made when the queue reads it: the message it returns is opened
// then, and never in memory as a whole.
package reports
