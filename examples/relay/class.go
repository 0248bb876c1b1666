package main

import (
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery"
)

// bounceClass is a class of reasons why mail is not delivered, with the subject and detail
// of the enhanced status codes that mean it (RFC 3463, and the registry of RFC 5248). The
// names are those that bulk senders' programs use.
type bounceClass struct {
	name   string
	status []string
}

var bounceClasses = []bounceClass{
	{"bad-mailbox", []string{"1.0", "1.1", "1.3", "1.4", "1.6"}},
	{"bad-domain", []string{"1.2", "1.10"}},
	{"invalid-sender", []string{"1.7", "1.8"}},
	{"inactive-mailbox", []string{"2.0", "2.1", "2.4"}},
	{"quota-issues", []string{"2.2", "3.1"}},
	{"content-related", []string{"2.3", "3.4", "6", "7.7"}},
	{"host-busy", []string{"3.0", "3.2", "3.3", "4.5"}},
	{"bad-configuration", []string{"3.5", "7.8", "7.9", "7.11"}},
	{"no-answer-from-host", []string{"4.1"}},
	{"bad-connection", []string{"4.2"}},
	{"routing-errors", []string{"4.0", "4.3", "4.4", "4.6"}},
	{"message-expired", []string{"4.7"}},
	{"protocol-errors", []string{"5"}},
	{"encryption-related", []string{"7.4", "7.5", "7.10", "7.30"}},
	{"sender-authentication", []string{"7.20", "7.21", "7.22", "7.23", "7.24", "7.25", "7.26", "7.27", "7.29"}},
	{"policy-related", []string{"7.0", "7.1", "7.2", "7.3", "7.6", "7.12", "7.13", "7.14", "7.15", "7.16", "7.17", "7.18", "7.19", "7.28"}},
}

// otherClass is the class of failures that are not specific enough.
const otherClass = "other"

func classNames() (list []string) {
	for _, c := range bounceClasses {
		list = append(list, c.name)
	}
	return list
}

// statuses are the enhanced status codes of a class as a queue.Selection has them. A code,
// or the beginning of one, is a class by itself.
func statuses(class string) (string, bool) {
	if class == "" || strings.Trim(class, "0123456789.") == "" && class[0] >= '2' && class[0] <= '5' {
		return class, true
	}
	i := slices.IndexFunc(bounceClasses, func(c bounceClass) bool { return c.name == class })
	if i < 0 {
		return "", false
	}
	var list []string
	for _, status := range bounceClasses[i].status {
		list = append(list, "4."+status, "5."+status)
	}
	return strings.Join(list, " "), true
}

// classOf returns the class of an event, or "" if it is not a failure.
func classOf(e *delivery.Event) string {
	switch e.Kind {
	case delivery.Deferred, delivery.Failed, delivery.UnknownOutcome:
	case delivery.Expired:
		return "message-expired"
	default:
		return ""
	}
	_, status, _ := strings.Cut(e.Enhanced, ".")
	for _, c := range bounceClasses {
		if slices.ContainsFunc(c.status, func(s string) bool { return status == s || strings.HasPrefix(status, s+".") }) {
			return c.name
		}
	}
	switch e.Code {
	case 452, 552:
		return "quota-issues" // RFC 5321 section 4.2.3
	case 421:
		return "host-busy"
	}
	return otherClass
}
