// Package address is the one place that decides what a valid mailbox and a
// valid domain are, and what their canonical form is.
package address
