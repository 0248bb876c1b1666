// Package content looks at a message's bytes before they are sent: how long
// they are in canonical form, what they need of a server, and whether they may
// be sent at all.
package content
