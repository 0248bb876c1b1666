// Package record is the spool's format on disk. Every file has a header and then
// frames; docs/spool-format.md describes the same for other programs.
//
//   - A header (FileHeader) has the kind of file, the version of the format, the file's
//     number and its salt. It is stored twice.
//   - A frame (Frame) is one record: two lengths, three CRC-32C sums, a kind, a head
//     and a body. The sum of its header is seeded with the file's salt and the frame's
//     place, so that bytes inside a message are never taken for a frame, even if the
//     message was made for that purpose.
//   - Frames that belong together form a group, which is valid only as a whole.
//
// Decoders accept any bytes without panicking and without allocating more than those
// bytes justify.
package record
