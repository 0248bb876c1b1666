// Package bench measures nexthop's relay and library beside Postfix and Exim: on
// the same machine, in the same run, with the same source, sink and DNS, and all
// queues on the same disk.
//
//	make bench-relay
//
// prints the medians of several rounds, in which the candidates take turns, each
// figure with what is promised of it, and fails where a promise is not kept.
// docs/benchmarks.md has the results and how each server is configured.
//
// The promises that no noise can break (connections per message, round trips per
// message, what a black hole costs) are ordinary tests, at smaller counts.
//
// Everything runs in namespaces of the test binary's own, as package peers makes
// them: the names and addresses in world_test.go exist nowhere else.
package bench
