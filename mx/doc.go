// Package mx answers one question: where does mail for this domain go?
package mx
