module github.com/nexthop-mail/nexthop/queue/disk/bench

go 1.26.0

require (
	github.com/ncruces/go-sqlite3 v0.36.0
	github.com/nexthop-mail/nexthop v0.0.0
	go.etcd.io/bbolt v1.5.0
)

require (
	github.com/ncruces/go-sqlite3-wasm/v6 v6.4.35401 // indirect
	github.com/ncruces/julianday v1.0.0 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/nexthop-mail/nexthop => ../../..
