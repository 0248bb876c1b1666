// Package content looks at a message's octets before they are sent: how long
// they are, what they ask of a server, and whether they may be sent at all. What
// comes out, a Body, is canonical: every line ends in CRLF, no CR or LF stands
// anywhere else, and the last line has its end too, because DATA would give it
// one. BDAT sends the same octets, so that a message is the same either way and
// as long as its SIZE said (RFC 1870 section 5).
//
//  1. Prepare scans the octets once. Those in memory and canonical stay where
//     they are; a stream of up to 1 MiB is read into memory; a longer one is
//     read for the first time here and again for each Open.
//  2. The Policy refuses what must not be sent, or has line ends made canonical.
//  3. Body.Bytes or Body.Open gives the octets. A reader that would yield others
//     than those that were scanned fails before the last one.
//
// Nothing is decoded, and nothing but line ends is changed.
package content
