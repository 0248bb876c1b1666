// Package smarthost says where mail goes whatever DNS thinks of it: next hops that
// override MX records, who to log in as there, and what to turn to when every MX
// host is down.
package smarthost
