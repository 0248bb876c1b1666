// Package metrics counts and measures the work of an Agent, and writes the numbers in
// the text format of Prometheus.
//
//	recorder := &metrics.Recorder{Agent: agent}
//	agent.Events = recorder.Record // or delivery.Hooks(recorder.Record, ...)
//	http.Handle("GET /metrics", recorder)
//
// Recording happens in the Events hook, which no delivery waits for. The gauges of the
// Agent and its queue are read when the numbers are requested.
//
// # Names
//
// Every name begins with the namespace, "nexthop" by default. Counters:
//
//   - nexthop_events_total{event}: events by kind. "queued" and the outcomes are
//     counted for each recipient.
//   - nexthop_attempts_total{outcome,route,tls}: attempts by their outcome for a
//     recipient.
//   - nexthop_failures_total{outcome,stage,class}: the attempts that did not deliver,
//     by the stage that decided this and the first digit of the reply code ("none" if
//     no host replied).
//
// Histograms, in seconds:
//
//   - nexthop_attempt_duration_seconds{outcome}: duration of attempts.
//   - nexthop_stage_duration_seconds{stage}: duration of their stages: dns, connect,
//     hello, tls, mail, content, reply.
//   - nexthop_delivery_age_seconds: time that delivered mail had been in the queue.
//
// Gauges: nexthop_deliveries_in_flight, nexthop_deliveries_claimed, nexthop_sites,
// nexthop_sites_backed_off, nexthop_sites_login_refused, nexthop_sessions,
// nexthop_events_waiting, nexthop_trouble (1 while the queue fails), and of the queue
// nexthop_queue_messages, nexthop_queue_deliveries and nexthop_queue_bytes.
//
// Label values come from fixed lists in this package; they never contain the name of a
// host, a domain, a tenant or an address. So hostile mail adds no series, and the
// memory of a Recorder is bounded.
package metrics
