// Package record is the spool's format on disk. Every file is a header and
// then frames; docs/spool-format.md says the same for other programs.
//
//   - A header (FileHeader) names the kind of file, the version of the format,
//     the file's number and its salt. It is stored twice.
//   - A frame (Frame) is one record: two lengths, three CRC-32C sums, a kind,
//     a head and a body. The sum of its header is seeded with the file's salt
//     and the frame's place, so that bytes inside a message never pass for a
//     frame, whoever wrote the message.
//   - Frames that belong together form a group, which counts as a whole or not
//     at all.
//
// Decoders take any bytes without panicking and without allocating more than
// those bytes justify.
package record
