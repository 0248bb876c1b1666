// Package bench measures nexthop beside other Go mail clients, all of them over
// kept connections to the same sink on loopback in the same run:
//
//	make bench
//
// Its tests hold the ratios that nexthop promises; its benchmarks give the
// figures. It is a module of its own so that the clients it compares with are
// nobody else's dependencies.
package bench
