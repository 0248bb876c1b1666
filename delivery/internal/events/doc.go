// Package events passes events on to a hook of the application. It does not know what an
// event is.
//
//  1. A [Queue] passes events on in the order in which they were added, and the next one
//     when the hook has returned.
//  2. [Queue.Add] takes events and does not wait for the hook.
//  3. One goroutine at a time passes events on: that of [Queue.Run], or if nobody is
//     there to do so, one that the caller of Add starts with [Queue.Serve], which ends
//     after the last event.
//  4. While [Max] events wait, there is no room ([Queue.Room]) until half of them have
//     been passed on. What causes events must not begin then, so that the number of
//     waiting events is bounded by Max and what has begun before.
//  5. [Queue.Wait] waits for room. The hook itself does not wait, since there is no room
//     before it returns: it is known by its context.
package events
