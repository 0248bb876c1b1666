// Package clienttest tests mail clients. [Run] has a client deliver mail in every
// [Scenario]. There are about a hundred, from SERVFAIL at the MX records to a connection
// lost after the final dot. Each is a small Internet of package smtptest that tests one
// requirement of the standards, and [Failure] names the section that has it.
//
// A client under test is a [Client]: a function makes it from a [Setup], which has the
// Internet to use in place of the real one. Time is virtual (testing/synctest), so that the
// scenarios take no time to speak of.
package clienttest
