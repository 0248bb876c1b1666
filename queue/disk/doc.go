// Package disk is the queue in a directory: durable, embedded, without a
// dependency.
//
//  1. Open takes the directory's lock and reads the newest checkpoint and the
//     end of the log.
//  2. Put appends the message's records to the log: its deliveries, and its
//     envelope with the content. A content of 256 KiB or more is streamed to a
//     file of its own and saved there first. All who call Put or Settle at one
//     time share one write and one fdatasync.
//  3. Claim picks deliveries in memory, where each costs 40 bytes, and reads
//     their records.
//  4. Settle appends what stays of a delivery, or its end. With messages to
//     create it is saved before it returns; without, within a second.
//  5. Records that are not needed any more are given up with their whole segment. If
//     much of the log is useless, the mail that waits in the emptiest segment moves
//     to the end of the log. From time to time a checkpoint of the index is
//     taken, so that the next Open has little to read.
//
// The directory holds segments of the log ("segment-…"), large contents
// ("content-…"), one checkpoint ("checkpoint-…"), the keys of messages that
// have left ("keys-…"), what is suspended ("suspended-…") and the lock. The format is in
// docs/spool-format.md; a checkpoint may be deleted while the spool is closed,
// and costs the next Open time, nothing else may.
//
// # What survives
//
// Put, Hold, Release, Drop, Suspend, Resume and a Settle that creates messages
// survive a power cut once they have returned. Any other settlement, a Flush and a
// Postpone survive the death of the process at once, and a power cut after a second;
// before that, the delivery comes back as it was. A mark is saved before Mark returns.
// Postponements with an owner are in memory only.
//
// The key of a message that has left survives like the settlement with which it left.
// If the device is full when a segment is given up, the keys that are only there are
// lost with the process.
//
// # What goes wrong
//
// If a write fails, so do the calls it was for, and nothing of theirs is stored. The
// error is ErrFull if the device is full, or says so when it saves. A full device takes
// no mail and lets all mail go: a part of it, in the file "reserve", is kept for that,
// and Put answers ErrFull until it is whole again. Once the device fails to save, or a
// failed write cannot be undone, every further call answers ErrFailed until the
// spool is opened again: such a device may show what it does not hold, so Open writes
// it again. Damage to stored bytes, and sectors that cannot be read,
// answer queue.ErrDamaged for the messages concerned, and the others are not
// affected. Check names what is damaged; Dump shows the records.
//
// What the spool asks of a file system is in docs/adr/0010. One that cannot lock
// files is refused with ErrNoLock. On AIX and Solaris, which have no other lock, a
// directory must not be opened twice in one process.
//
// A process without descriptors fails the calls that need one, with the system's
// error; nothing is lost, and the spool goes on when there are some again. How many
// it needs does not grow with the queue: see Options.OpenSegments.
//
// A Spool is safe for concurrent use. It has no goroutine of its own: one of the
// callers that wait writes for the others. Maintenance, and saving that no caller waits
// for, run for a moment now and then; Close waits for them.
package disk
