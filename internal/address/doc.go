// Package address is the one place that decides what a valid mailbox and a
// valid domain are, and what their canonical form is.
//
// A Domain is a mail domain in canonical form: what is equal is the same
// destination. A Mailbox keeps what its writer wrote besides, because only the
// receiving host may change that. Neither can hold a control character, and what
// they write is all that may go between the angle brackets of a command: no
// other text from outside does.
package address
