// Package sign calls the application's Sign hook, and keeps panics in the application's
// code away from the agent: those of the hook, and those of the content that it returns,
// which is read where nobody would catch them.
//
// It does not know what a signature is, or what happens to a message that was not signed.
package sign
