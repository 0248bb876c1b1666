// Package trouble knows what fails on our own side, so that no host and no message is
// blamed for it.
//
//   - [Calls] has the errors of calls that fail just now.
//   - [DNS] tells whether DNS works at all, by one probe for all who ask.
//   - [Network] tells whether there is a route to any host.
//
// It is told results and makes no call of its own: the caller of [DNS.Works] brings the
// probe. It has no goroutine. All zero values are ready to use, and all methods are safe
// for concurrent use.
package trouble
