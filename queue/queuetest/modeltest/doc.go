// Package modeltest runs random operations on queues and on a model of the
// contract, and wants the same answers. It is for tests alone.
package modeltest
