// Package smtp is the client side of an ESMTP session (RFC 5321).
package smtp
