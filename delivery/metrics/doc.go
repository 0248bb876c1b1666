// Package metrics keeps numbers of what an Agent does, and writes them in the text format
// of Prometheus.
//
//	recorder := &metrics.Recorder{Agent: agent}
//	agent.Events = recorder.Record // or delivery.Hooks(recorder.Record, ...)
//	http.Handle("GET /metrics", recorder)
//
// Recording happens in the Events hook, which no delivery waits for. What an Agent is doing
// at the moment, and what its queue holds, is asked for when the numbers are read.
//
// # Names
//
// Every name begins with the namespace, "nexthop" by default. Counters:
//
//   - nexthop_events_total{event}: events by kind. "queued" and the outcomes are counted
//     for each recipient.
//   - nexthop_attempts_total{outcome,route,tls}: attempts by their outcome for a recipient.
//   - nexthop_failures_total{outcome,stage,class}: of those, the ones that did not deliver,
//     by the stage at which that was decided and the first digit of the reply code ("none"
//     if no host replied).
//
// Histograms, in seconds:
//
//   - nexthop_attempt_duration_seconds{outcome}: how long attempts took.
//   - nexthop_stage_duration_seconds{stage}: how long their stages took: dns, connect,
//     hello, tls, mail, content, reply.
//   - nexthop_delivery_age_seconds: how long delivered mail had been in the queue.
//
// Gauges: nexthop_deliveries_in_flight, nexthop_deliveries_claimed, nexthop_sites,
// nexthop_sites_backed_off, nexthop_sites_login_refused, nexthop_sessions, nexthop_events_waiting,
// nexthop_trouble (1 while the queue fails), and of the queue nexthop_queue_messages,
// nexthop_queue_deliveries and nexthop_queue_bytes.
//
// The values of labels are from lists that this package has: no name of a host, a domain, a
// tenant or an address is among them. So hostile mail adds no series, and a Recorder's
// memory has a bound.
package metrics
