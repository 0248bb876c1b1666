module github.com/nexthop-mail/nexthop

go 1.26
