// Package dsn writes reports about mail for the one who sent it: delivery status
// notifications (RFC 3464) in a multipart/report (RFC 6522), by the rules of RFC
// 3461 section 6.
//
//  1. A Report says what is to be told: who reports, to whom, about which
//     recipients, and how the message can be read.
//  2. Report.Open looks through the message once, to know what of it can be
//     returned, and then gives the report as a stream. Neither the message nor
//     the report is ever in memory as a whole.
//
// A report has three parts: a text for people, the same for programs, and the
// message or its header. It is 7-bit mail with lines of 998 octets at most,
// whatever hosts replied and the message contains; only the To field of a sender
// whose address is beyond ASCII is not (RFC 6532). What is beyond ASCII
// elsewhere is written as \x{E9} (RFC 6533 section 3). A message that cannot be
// read, or not to its end, is left out: nothing about it can stop the report.
package dsn
