// Package queue defines the types for mail that is still to be delivered, the Queue
// interface, and the contract that every queue keeps.
//
// # If you only submit mail
//
// You need three types: Message, Recipient, and a Content such as String or File. Give the
// message to delivery.Agent, which puts it into the queue and delivers it:
//
//	id, err := agent.Submit(ctx, &queue.Message{
//		From:       "app@example.org",
//		Recipients: []queue.Recipient{{Address: "bob@example.com"}},
//		Content:    queue.String(text),
//	})
//
// Package disk is a durable queue in a directory. Package memory is one that is lost with
// the process. The rest of this page is for programs that work on a queue, and for
// implementations of the Queue interface.
//
// # How a message goes through a queue
//
//  1. Put stores it. Split groups its recipients by destination, in the same way for
//     every queue. A delivery is the recipients of one message at one destination.
//  2. Claim returns deliveries that are due, each with a lease.
//  3. Open returns the content, and an attempt is made. Extend prolongs the lease while
//     the attempt lasts. If the message may be sent at most once, Mark records that it
//     is about to be sent.
//  4. Settle records the outcome for each recipient. Those that were delivered or have
//     failed leave the queue, the others wait for the next attempt. Bounces enter the
//     queue in the same step.
//  5. With its last recipient the message leaves the queue, and so does its content.
//
// Several claimers may work on one queue: agents of one process, or of several processes
// if the implementation says so. Some rules ask less of a queue that several processes
// share.
//
// # The contract
//
// Package queuetest checks an implementation against every rule below, and measures it.
// Package memory is the reference implementation.
//
// A call that concerns many deliveries may be done in pieces, so that other calls need not
// wait long. Mail that arrives, leaves or changes during the call may be included or not.
// When the call returns, all of it has been done. A message that is put is listed as a
// whole or not at all, although its deliveries may become due one after the other.
//
// # Put
//
// P1. Put is all or nothing: a message is in the queue with all its recipients or not
// at all. If Put returns the error of its context or of the storage, either may be the
// case.
//
// P2. When Put returns without an error, the message survives whatever the
// implementation promises to survive. For a durable queue that is the end of the
// process and a power cut at any later moment.
//
// P3. Nothing of the message is lost or changed: Claim, Open and Show return what was
// put, byte for byte in strings and content, to the millisecond in times. If Arrived
// was zero, it is the time of Put. Put does not change the message it is given, and
// changes that its owner makes later have no effect.
//
// P4. Put refuses every message that Message.Validate refuses, with the same *MessageError.
//
// P5. The content is read once, as a stream. If the reader fails, or yields more or
// fewer bytes than Size said, Put fails with a *MessageError and the message is not in
// the queue.
//
// P6. While a message is in the queue, Put of another with the same tenant and the
// same key, not empty, puts nothing and returns the id of the first with ErrDuplicate.
// It does the same for some time after the message has left, even if a durable queue is
// restarted. That time is set when the queue is opened. A queue may bound how many keys
// of messages that have left it remembers. It then forgets the oldest first and counts
// those it forgot. The key of a dropped message is forgotten at once.
//
// P7. An id consists of at most 40 digits and ASCII letters. If a Put begins after
// another has returned, its id is greater as a string, whatever the clock does. A queue
// never gives an id to two messages, even if the first has left or a durable queue has
// been restarted.
//
// P8. If a queue has a bound and a message would exceed it, Put returns ErrFull. When
// messages have left, the queue accepts others again.
//
// # Claim
//
// C1. Claim returns deliveries that are due. A delivery is due when its
// not-before time, if it has one, is not after the time given, its message is
// not on hold, its destination is not postponed beyond that time, and it is not
// leased. Without a not-before time it is due whatever time is given.
//
// C2. A delivery has all pending recipients of its message at its destination,
// with their states, and no other recipient.
//
// C3. Deliveries come in the order in which they became due; every step of priority
// counts as having been due for PriorityStep longer. Then the lower id comes first,
// then the lesser destination. A delivery has been due since its not-before time, or
// since the Put, settlement or flush that made it due at once. A queue that several
// processes share keeps this order within one tenant and destination, and serves
// tenants and destinations in turn, so that none is passed over for ever.
//
// C4. Claim returns at most Max deliveries, PerDestination of one destination and
// PerTenant of one tenant. It goes through due deliveries in order, leaves out those
// that would exceed a bound, and takes the others. A shared queue may also leave out
// deliveries that another call is working on, and return fewer than Max; it exceeds no
// bound.
//
// C5. Claim returns only deliveries to Destinations, if there are any, none to Except,
// and none of ExceptTenants.
//
// C6. Claim does not wait for deliveries to become due or for other callers to settle.
//
// C7. If the record of a delivery cannot be read, that does not delay any other
// delivery. It is returned as Unreadable, with a lease, together with the others.
//
// C8. If a due delivery was left out because of a bound, Claimed.Next is not after the
// time given. This may also be so if a shared queue may have left out others. Otherwise
// Next is after that time, and not later than the first moment at which a delivery that
// the options admit and that is not on hold becomes due, by its own time, by its
// destination's or by the end of its lease. It may be earlier, and is zero only if
// there is no such delivery. An empty queue returns zero, unless other processes can
// put into it and it is not a Waiter: then it returns the time of the next claim.
//
// C9. A claim never returns a delivery that another claim, made at the same time, has
// leased.
//
// # Leases
//
// L1. No other claim returns a claimed delivery before its lease ends.
//
// L2. A delivery whose lease has ended without being settled is due again, with
// nothing changed and no attempt charged.
//
// L3. A lease is lost when its delivery is claimed again, settled or dropped. It is not
// lost just because it has ended: the delivery can then still be settled under it.
// Settle and Extend answer ErrLeaseLost for a lease that is lost, and do nothing.
//
// L4. No two leases of one delivery have the same token, across any restart.
//
// L5. Extend sets the end of each lease to the time given plus the duration, whether
// that is later or earlier than before. A lost lease does not keep the others from being
// extended.
//
// L6. Mark records that the deliveries of some leases are about to be sent, if their
// messages are AtMostOnce. It marks all of them or, with ErrLeaseLost, none. If it
// returns without an error, it is as durable as Put; with any other error it may have
// marked all or none. If a marked delivery is claimed again without having been
// settled, because its lease ended or died with the process, Interrupted is set. A
// settlement clears the mark. Without a mark, and for any other message, Interrupted is
// never set.
//
// L7. Take leases the deliveries of one message, whether or not they are due or on
// hold, except those with a lease that has not ended. They are treated as if they had
// been claimed, and a hold remains. It is optional.
//
// # Settle
//
// S1. A recipient settled as Delivered or Failed is final: no claim returns it again.
//
// S2. A recipient settled as Deferred or Unknown stays, and its State has one
// more attempt, the outcome, the reply and the time of the settlement.
//
// S3. A pending recipient without a result stays as it is, and is not charged an
// attempt.
//
// S4. A settled delivery with recipients that stay is due again at NotBefore, or at
// once if that is zero.
//
// S5. A settlement happens as a whole or not at all: the results, the next attempt and
// the messages it creates. It changes nothing if its lease is lost, if it names a
// recipient twice or one that is not pending in the delivery, or if it creates a
// message that Put would refuse.
//
// If there is no room for the messages a settlement creates, a queue may record it
// without them: then NoRoom is set, nothing is created, and the recipients that had
// failed stay pending, without an attempt; what was delivered is recorded. If there
// is no room for a settlement after which all its recipients are still pending, it may
// be kept in memory only.
//
// S6. The settlements of one batch are independent: if one fails, the others are still
// made. If two have the same lease, the first counts. If two create a message of the
// same tenant and key, it is put once.
//
// S7. A settlement that creates messages is as durable as Put when Settle
// returns. A durable queue may lose any other settlement to a crash within a
// second after Settle has returned; the delivery is then as it was when it was
// claimed.
//
// S8. A created message is a message like any other, with two exceptions. A bound on
// the queue does not stop it. If its tenant and key are known, it is not put again and
// does not fail the settlement: Created has the id of the known message.
//
// S9. Settle reads the content of the messages it creates before it takes effect.
// Meanwhile it holds no lock that reading content of the same queue needs, because a
// bounce may quote the message it is about.
//
// S10. When the last recipient of a message is settled, the message is gone: Open and
// Show return ErrNotFound, and its room is free, in a shared queue within a minute.
//
// S11. The reason of a settlement is shown with the remaining delivery until the next
// settlement. If it is empty, no reason is shown.
//
// # Open
//
// O1. The content is the bytes that were put, and its Size is their number, however
// often it is read and by however many readers.
//
// O2. Open of a message that is not there returns ErrNotFound. Content that was opened
// before its message left may continue to be readable or fail, but never yields other
// bytes.
//
// O3. If content was damaged in storage, an error that wraps ErrDamaged is returned by
// Open, by the content's Open or by its reader. Other bytes are never returned without
// an error.
//
// # Administration
//
// Each of these is optional.
//
// A1. List returns every message that is in the queue from the first page to the last
// exactly once, in the order of ids. A message that is put or leaves meanwhile may be
// included or not. With a destination, List returns only messages that wait for it.
//
// A2. Show returns one message as List does: the pending recipients, their
// states and times.
//
// A3. A message on hold is not claimed. A lease given before stays valid and can
// be settled; what is left is then on hold. Holds and releases are as durable as
// Put.
//
// A4. A dropped message is gone as if its last recipient had been settled. Its
// leases are lost. Drop is as durable as Put.
//
// A5. Flush makes the deliveries it selects due at once. It ends the postponements
// without an owner of their destinations and of the destinations it names, or of all if
// it selects everything. Deliveries that are already due keep their place, those on
// hold stay on hold, and those with a lease that has not ended are left to their
// settlement. A shared queue may return -1 for their number. A flush may be lost like a
// settlement.
//
// A6. The deliveries of a postponed destination, including those put later, are not
// claimed before its time. A postponement is replaced by the next one of the same
// owner, and ended by the zero time. One without an owner is shown with its reason. It
// may be lost like a settlement, and forgotten when its time has passed.
//
// A7. Total and Survey are exact while no other call is in progress; those of a shared
// queue may be a minute behind. A destination is in the survey while it has deliveries.
//
// A8. A postponement with an owner applies only to the claims of that owner. It neither
// replaces nor ends that of another owner or the one without an owner. Flush does not
// end it, and it is not shown. It is not stored, and ends with the process. If it names
// no destination and has the zero time, it ends all postponements of that owner.
//
// A9. A hold has a reason and may have an end. It is shown, together with the time it
// began, and is replaced by the next hold of the same message. A hold with an end is
// over at the first claim or flush whose time is not before the end; that call then
// treats the mail like other mail, and rule C8 treats the end of the hold like the end
// of a lease. A hold without terms has no reason and no end.
//
// A10. A suspension is stored and shown to all handles, with its beginning, its end and
// its reason, until it is resumed, or until Suspend, Resume or Suspensions is given a
// time that is not before its end. Then it is over for good. The next suspension of the
// same subject replaces it. It does not prevent claims: claimers leave the mail out,
// and handle mail that expires meanwhile. Suspend and Resume are as durable as Put.
//
// # Outcomes
//
// Keeping outcomes is optional, and has to be asked for when the queue is opened.
//
// K1. A queue that keeps outcomes keeps that of each recipient settled as Delivered or
// Failed, in the same step as the settlement. Outcomes returns every outcome that was
// settled before the call, each once, and none of a recipient that is pending. An outcome
// that it has returned is as durable as a Put. A recipient of a dropped message that was
// pending has no outcome.
//
// K2. Outcomes returns pages in the order of positions; those of one settlement are in the
// order of its recipients, and those of one call of Settle in the order of its settlements,
// unless there was no room for one at first. Each position is greater as a string than all
// that were returned before, whatever the clock does. If a page is asked for after a
// position, it begins with the next outcome, even if a durable queue was restarted
// meanwhile.
//
// K3. Outcomes are kept for a time that is set when the queue is opened. A queue may bound
// their number. It forgets the oldest first. If an outcome after the position asked for was
// forgotten, Missed is set.
//
// K4. If there is no room for an outcome, the settlement is recorded nevertheless (rule
// S5). The outcome may then be kept in memory only.
//
// # Several claimers
//
// The first of these is optional, the others are for queues that can be opened
// more than once at a time.
//
// W1. Wait returns when mail may have become due that the given claim did not foresee:
// after a Put, a settlement that leaves or creates mail, a Release, a Flush, the end of
// a postponement, a Suspend or a Resume, by any claimer. Events between the claim and
// Wait count. It may also return without such an event, but not repeatedly.
//
// W2. All handles of a queue show the same mail: if one of them puts, settles, holds,
// flushes, or postpones without an owner, the others see it. A delivery that one handle
// has leased is not given to another.
//
// W3. When a handle dies, only what it stored remains, and its leases, which end at
// their time. Closing one handle does not affect the others.
//
// W4. ShareLimits, and Claim with Limits, answer each request with a share that
// ends ShareLength after the time given. The share, or what the claimer said that
// it has if that is more, counts until its next request, or until ShareHold has
// passed. A share is never more than what the others' leave of the limit.
//
// W5. Claimers that want a part of a limit get as much as they want, or equal
// parts of what is left by those that want less, as soon as the others have
// asked again and use no more than theirs. Connections that cannot be divided go to one after
// the other. A claimer that wants nothing and has nothing leaves all to the others.
//
// # Time, errors and the end
//
// X1. A queue never reads a clock to decide anything: now is given with each call, and
// may go back and forth. A queue that shares its storage with other machines may use a
// clock of its own: it takes each given time as an offset from the now of that call,
// and returns times likewise. So only a message's own times and a state's Tried need be
// exact to more than a millisecond.
//
// X2. If a context has ended before a call, the call fails with the context's error and
// does nothing. If it ends during the call, the call may do the same.
//
// X3. After Close every method returns ErrClosed; calls in progress end. A second Close
// does nothing.
//
// X4. A durable queue that is closed or crashes, and is opened again, holds what the
// other rules promise. Leases may have ended meanwhile.
//
// X5. A queue that has failed for good returns an error that wraps ErrFailed from every
// call, until it is opened again. It then holds what the other rules promise.
package queue
