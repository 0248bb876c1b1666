// Package cli is what the example programs share on the command line: the flags
// that say how mail leaves the machine, and sendmail's exit codes. It makes a
// delivery.Sender of them, and so shows how one is configured.
package cli
