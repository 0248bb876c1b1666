module github.com/nexthop-mail/nexthop/queue/queuetest/modeltest

go 1.26.0

require github.com/nexthop-mail/nexthop v0.0.0

require (
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	pgregory.net/rapid v1.3.0
)

replace github.com/nexthop-mail/nexthop => ../../..
