module github.com/nexthop-mail/nexthop/queue/queuetest/modeltest

go 1.26.0

require (
	github.com/jackc/pgx/v5 v5.13.0
	github.com/nexthop-mail/nexthop v0.0.0
	github.com/nexthop-mail/nexthop/queue/postgres v0.0.0
)

require (
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	golang.org/x/sync v0.24.0 // indirect
)

require (
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	pgregory.net/rapid v1.3.0
)

replace github.com/nexthop-mail/nexthop => ../../..

replace github.com/nexthop-mail/nexthop/queue/postgres => ../../postgres
