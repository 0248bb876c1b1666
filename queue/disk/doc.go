// Package disk is a durable queue in a directory of the file system. It needs no server.
//
//	spool, err := disk.Open("spool", disk.Options{})
//	...
//	defer spool.Close()
//
// It works like this:
//
//  1. Open takes the directory's lock and reads the newest checkpoint and the
//     end of the log.
//  2. Put appends the records of the message to the log: its deliveries, and its
//     envelope with the content. Content of 256 KiB or more is first written to a file
//     of its own and saved. Calls of Put and Settle at the same time share one write and
//     one fdatasync.
//  3. Claim chooses deliveries from an index in memory, which takes 40 bytes for each
//     delivery, and reads their records.
//  4. Settle appends what remains of a delivery, or its end. If it creates messages, it is
//     saved before Settle returns, otherwise within a second.
//  5. A segment of the log is deleted when none of its records is needed any more. If much
//     of the log is not needed, the messages in the segment with the fewest of them are
//     moved to the end of the log. From time to time a checkpoint of the index is written,
//     so that the next Open has little to read.
//
// The directory holds segments of the log ("segment-…"), large contents
// ("content-…"), one checkpoint ("checkpoint-…"), the keys of messages that
// have left ("keys-…"), what is suspended ("suspended-…"), the outcomes that are kept
// ("outcomes-…") and the lock. The format is in docs/spool-format.md. While the spool is
// closed, the checkpoint may be deleted, which makes the next Open slower. No other file
// may.
//
// # What survives
//
// Put, Hold, Release, Drop, Suspend, Resume and a Settle that creates messages
// survive a power cut once they have returned. Any other settlement, a Flush and a
// Postpone survive the end of the process at once, and a power cut after a second; if they
// are lost, the delivery is as it was before. A mark is saved before Mark returns.
// Postponements with an owner are only in memory, and so are leases: what was claimed when
// the process ended is due when the spool is opened again.
//
// No id is given twice, even if part of the log is damaged. Only if the directory is
// replaced by an older copy, or its newest segment is deleted, may ids be given again that
// were given since.
//
// The key of a message that has left is as durable as the settlement with which it left. If
// the device is full when a segment is deleted, the keys that are only there are lost when
// the process ends.
//
// The outcome of a recipient is as durable as its settlement, and saved before Outcomes
// returns it. It takes no part of the room that is reserved for mail that leaves. If there
// is no room for outcomes, they are kept in memory until there is, and are lost if the
// process ends before.
//
// # What goes wrong
//
// If a write fails, the calls that it was for fail, and nothing of theirs is stored. If the
// device is full, the error is ErrFull. On a full device no mail is accepted, but all mail
// can still be delivered and leave: space for that is reserved in the file "reserve", and
// Put answers ErrFull until that file has its full size again. A device that tells only when
// data is saved that it is full may have stored what the call was for: if the power fails
// before there is room again, the call is found done. If the device fails to save,
// or a failed write cannot be undone, every further call answers ErrFailed until the spool
// is opened again. Such a device may return data that it has not stored, so Open writes that
// data again. If stored bytes are damaged or a sector cannot be read, calls about the
// messages concerned answer queue.ErrDamaged, and other messages are not affected. Check
// lists what is damaged; Dump shows the records. If another program deletes the file to which
// mail is added, Put answers ErrDeleted; all that is in the queue can still be delivered.
//
// docs/adr/0010 says what the spool needs from a file system. If it cannot lock files, Open
// answers ErrNoLock. AIX and Solaris have no lock that works within one process: there a
// directory must not be opened twice in one process.
//
// If the process has no file descriptors left, calls that need one fail with the system's
// error. Nothing is lost, and the spool works again when there are some. The number it needs
// does not grow with the queue: see Options.OpenSegments.
//
// A Spool is safe for concurrent use. It has no goroutine that runs all the time: one of the
// waiting callers writes for the others. Maintenance, and saves that no caller waits for, run
// for a short time now and then. Close waits for them.
package disk
