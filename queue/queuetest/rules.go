package queuetest

// The rules of package queue, word for word. A test compares them with its
// documentation.
const (
	ruleP1 = "P1. Put is all or nothing: a message is in the queue with all its recipients or not at all. If Put " +
		"returns the error of its context or of the storage, either may be the case."
	ruleP2 = "P2. When Put returns without an error, the message survives whatever the implementation promises to " +
		"survive. For a durable queue that is the end of the process and a power cut at any later moment."
	ruleP3 = "P3. Nothing of the message is lost or changed: Claim, Open and Show return what was put, byte for " +
		"byte in strings and content, to the millisecond in times. If Arrived was zero, it is the time of " +
		"Put. Put does not change the message it is given, and changes that its owner makes later have no " +
		"effect."
	ruleP4 = "P4. Put refuses every message that Message.Validate refuses, with the same *MessageError."
	ruleP5 = "P5. The content is read once, as a stream. If the reader fails, or yields more or fewer bytes than " +
		"Size said, Put fails with a *MessageError and the message is not in the queue."
	ruleP6 = "P6. While a message is in the queue, Put of another with the same tenant and the same key, not " +
		"empty, puts nothing and returns the id of the first with ErrDuplicate. It does the same for some " +
		"time after the message has left, even if a durable queue is restarted. That time is set when the " +
		"queue is opened. A queue may bound how many keys of messages that have left it remembers. It then " +
		"forgets the oldest first and counts those it forgot. The key of a dropped message is forgotten at " +
		"once."
	ruleP7 = "P7. An id consists of at most 40 digits and ASCII letters. If a Put begins after another has " +
		"returned, its id is greater as a string, whatever the clock does. No id is ever used twice."
	ruleP8 = "P8. If a queue has a bound and a message would exceed it, Put answers ErrFull. When messages have " +
		"left, the queue accepts others again."
	ruleC1 = "C1. Claim returns deliveries that are due. A delivery is due when its not-before time, if it has " +
		"one, is not after the time given, its message is not on hold, its destination is not postponed " +
		"beyond that time, and it is not leased. Without a not-before time it is due whatever time is given."
	ruleC2 = "C2. A delivery has all pending recipients of its message at its destination, with their states, and " +
		"no other recipient."
	ruleC3 = "C3. Deliveries come in the order in which they became due; every step of priority counts as having " +
		"been due for PriorityStep longer. Then the lower id comes first, then the lesser destination. A " +
		"delivery has been due since its not-before time, or since the Put, settlement or flush that made it " +
		"due at once. A queue that several processes share keeps this order within one tenant and " +
		"destination, and serves tenants and destinations in turn, so that none is passed over for ever."
	ruleC4 = "C4. Claim returns at most Max deliveries, PerDestination of one destination and PerTenant of one " +
		"tenant: it goes through what is due in order, leaves out what would exceed a bound, and takes the " +
		"rest. A shared queue may also leave out what another caller has in hand, and stop short of Max; it " +
		"exceeds no bound."
	ruleC5 = "C5. Claim returns only deliveries to Destinations, if there are any, none to Except, and none of " +
		"ExceptTenants."
	ruleC6 = "C6. Claim waits neither for deliveries to become due nor for other callers to settle."
	ruleC7 = "C7. If the record of a delivery cannot be read, that does not delay any other delivery. It is " +
		"returned as Unreadable, with a lease, together with the others."
	ruleC8 = "C8. Claimed.Next is not after the time given if something due was left out because of a bound, and " +
		"may be so if a shared queue may have left something out. Else it is after that time, and not later " +
		"than the first moment at which a delivery that the options admit and that is not on hold becomes " +
		"due, by its own time, by its destination's or by the end of its lease. It may be earlier, and is " +
		"zero only if there is no such delivery. An empty queue answers zero, unless other processes can put " +
		"into it and it is no Waiter: then it answers when to look again."
	ruleC9 = "C9. A claim never returns a delivery that another claim, made at the same time, has leased."
	ruleL1 = "L1. No other claim returns a claimed delivery before its lease ends."
	ruleL2 = "L2. A delivery whose lease has ended without being settled is due again, with nothing changed and no" +
		" attempt charged."
	ruleL3 = "L3. A lease is lost when its delivery is claimed again, settled or dropped. Its end alone does not " +
		"lose it: until then the delivery can still be settled under it. Settle and Extend answer " +
		"ErrLeaseLost for a lease that is lost, and do nothing."
	ruleL4 = "L4. No two leases of one delivery have the same token, across any restart."
	ruleL5 = "L5. Extend sets the end of each lease to the time given plus the duration, whether that is later or " +
		"earlier than before. A lost lease does not keep the others from being extended."
	ruleL6 = "L6. Mark records that the deliveries of some leases are about to be sent, if their messages are " +
		"AtMostOnce. It marks all of them or, with ErrLeaseLost, none, and is as durable as Put when it " +
		"returns without an error; with any other error it may be either. If a marked delivery is claimed " +
		"again without having been settled, because its lease ended or died with the process, Interrupted is " +
		"set. A settlement clears the mark. Without a mark, and for any other message, Interrupted is never " +
		"set."
	ruleL7 = "L7. Take leases the deliveries of one message, whether or not they are due or on hold, except those " +
		"on which another has a lease that has not ended. They are as if they had been claimed, and a hold " +
		"stays. It is optional."
	ruleS1 = "S1. A recipient settled as Delivered or Failed is final: no claim returns it again."
	ruleS2 = "S2. A recipient settled as Deferred or Unknown stays, and its State has one more attempt, the " +
		"outcome, the reply and the time of the settlement."
	ruleS3 = "S3. A pending recipient without a result stays as it is, and is not charged an attempt."
	ruleS4 = "S4. A settled delivery with recipients that stay is due again at NotBefore, or at once if that is " +
		"zero."
	ruleS5 = "S5. A settlement happens as a whole or not at all: the results, the next attempt and the messages it" +
		" creates. One whose lease is lost, that names a recipient which is not pending in the delivery or " +
		"names one twice, or that creates a message Put would refuse, changes nothing."
	ruleS6 = "S6. The settlements of one batch are independent of each other: one that fails stops no other. If " +
		"two have the same lease, the first counts. If two create a message of the same tenant and key, it is " +
		"put once."
	ruleS7 = "S7. A settlement that creates messages is as durable as Put when Settle returns. A durable queue may" +
		" lose any other settlement to a crash within a second after Settle has returned; the delivery is " +
		"then as it was when it was claimed."
	ruleS8 = "S8. A created message is a message like any other, except that a bound on the queue does not stop " +
		"it, and that one whose tenant and key are known is not put again and stops nothing: Created has the " +
		"id of the message that is there."
	ruleS9 = "S9. Settle reads the content of the messages it creates before it takes effect, and holds nothing " +
		"meanwhile that the content of a message in the same queue needs: a bounce may quote what it is " +
		"about."
	ruleS10 = "S10. When the last recipient of a message is settled, the message is gone: Open and Show answer " +
		"ErrNotFound, and its room is free, in a shared queue within a minute."
	ruleS11 = "S11. The reason of a settlement is shown with what remains of its delivery until the next " +
		"settlement. If it is empty, none is shown."
	ruleO1 = "O1. The content is the bytes that were put, and its Size is their number, however often and by " +
		"however many it is read."
	ruleO2 = "O2. Open of a message that is not there answers ErrNotFound. Content opened before its message left " +
		"may go on reading or fail, and never yields other bytes."
	ruleO3 = "O3. Content that was damaged in storage is answered with an error that wraps ErrDamaged, by Open, by" +
		" the content's Open or by its reader, never with other bytes and a clean end."
	ruleA1 = "A1. List returns every message that is in the queue from the first page to the last exactly once, in" +
		" the order of ids; one that is put or leaves meanwhile may be there or not. With a destination it " +
		"returns only messages that wait for it."
	ruleA2 = "A2. Show returns one message as List does: the pending recipients, their states and times."
	ruleA3 = "A3. A message on hold is not claimed. A lease given before stays valid and can be settled; what is " +
		"left is then on hold. Holds and releases are as durable as Put."
	ruleA4 = "A4. A dropped message is gone as if its last recipient had been settled. Its leases are lost. Drop " +
		"is as durable as Put."
	ruleA5 = "A5. Flush makes the deliveries it selects due at once. It lifts everybody's postponement of their " +
		"destinations and of the destinations it names, or of all if it selects everything. Deliveries due " +
		"already keep their place, those on hold stay on hold, and those claimed are left to their " +
		"settlement. A shared queue may answer -1 for their number. A flush may be lost as a settlement may."
	ruleA6 = "A6. A postponed destination's deliveries, those put later included, are not claimed before its time." +
		" A postponement is replaced by the next of the same owner and lifted by the zero time. Everybody's " +
		"is shown with its reason. It may be lost as a settlement may, and forgotten when its time has " +
		"passed."
	ruleA7 = "A7. Total and Survey count exactly what is there while nothing else is under way; those of a shared " +
		"queue may be a minute behind. A destination is in the survey while it has deliveries."
	ruleA8 = "A8. A postponement with an owner binds the claims of that owner and nobody else's. It neither " +
		"replaces nor lifts that of another owner or of everybody, no Flush lifts it and nothing shows it. It " +
		"is not stored, and ends with the process. If it names no destination and the zero time, all of that " +
		"owner's are lifted."
	ruleA9 = "A9. A hold has a reason and may have an end. It is shown, together with when it began, and is " +
		"replaced by the next of the same message. One with an end is over with the first claim or flush " +
		"whose time is not before it; that call does with the mail what it does with other mail, and rule C8 " +
		"goes by the end of the hold as by the end of a lease. A hold without terms has neither."
	ruleA10 = "A10. A suspension is remembered and shown to all handles, with its beginning, its end and its " +
		"reason, until it is resumed, or until Suspend, Resume or Suspensions is given a time that is not " +
		"before its end. Then it is over for good. The next of the same subject replaces it. It keeps nothing " +
		"from being claimed: claimers leave the mail out, and look after mail that expires meanwhile. Suspend " +
		"and Resume are as durable as Put."
	ruleW1 = "W1. Wait returns when mail may have become due that the claim it is told of did not foresee: after a " +
		"Put, a settlement that leaves or creates something, a Release, a Flush, the lifting of a " +
		"postponement, a Suspend and a Resume, by any claimer. Events between the claim and Wait count. It " +
		"may return for less, but not again and again while nothing happens."
	ruleW2 = "W2. All handles of a queue show the same mail: what one puts, settles, holds, flushes or postpones " +
		"for everybody is so for the others. What one has leased no other is given."
	ruleW3 = "W3. When a handle dies, nothing of it stays but what it stored and its leases, which end in their " +
		"time. Closing one handle leaves the others at work."
	ruleX1 = "X1. A queue never reads a clock to decide anything: now is given with each call, and it may go back " +
		"and forth. A queue that shares its storage with other machines may go by a clock of its own: it " +
		"takes a time it is given as so long after the now of that call, and gives it back likewise, so that " +
		"no time but a message's own and a state's Tried need be exact to more than a millisecond."
	ruleX2 = "X2. A context that has ended before a call makes it fail with the context's error, and nothing is " +
		"done. One that ends meanwhile may do the same."
	ruleX3 = "X3. After Close every method answers ErrClosed; calls under way end. A second Close does nothing."
	ruleX4 = "X4. A durable queue that is closed or crashes, and is opened again, holds what the other rules " +
		"promise. Leases may have ended with it."
	ruleX5 = "X5. A queue that has failed for good answers every call with an error that wraps ErrFailed, until it" +
		" is opened again. It then holds what the other rules promise."
)
