package sasl

import (
	"slices"
	"strings"
)

// The mechanisms.
const (
	External        = "EXTERNAL"
	ScramSHA256Plus = "SCRAM-SHA-256-PLUS"
	ScramSHA256     = "SCRAM-SHA-256"
	OAuthBearer     = "OAUTHBEARER"
	XOAuth2         = "XOAUTH2"
	Plain           = "PLAIN"
	LoginMechanism  = "LOGIN"
	CramMD5         = "CRAM-MD5"
)

// Mechanisms are those there are, the strongest first, for a server whose
// certificate was verified or for any other.
func Mechanisms(verified bool) []string {
	if verified {
		return []string{External, ScramSHA256Plus, ScramSHA256, OAuthBearer, XOAuth2, Plain, LoginMechanism, CramMD5}
	}
	return []string{External, ScramSHA256Plus, ScramSHA256, CramMD5, OAuthBearer, XOAuth2, Plain, LoginMechanism}
}

// Known reports whether there is a mechanism of that name, in any case.
func Known(mechanism string) bool {
	return slices.Contains(Mechanisms(true), strings.ToUpper(mechanism))
}

// Bearer reports whether a mechanism goes by a token.
func Bearer(mechanism string) bool { return mechanism == OAuthBearer || mechanism == XOAuth2 }

// HandsOver reports whether a mechanism gives the server the secret itself.
func HandsOver(mechanism string) bool {
	return mechanism == Plain || mechanism == LoginMechanism || Bearer(mechanism)
}

// Choose lists the mechanisms among those offered that the login can serve, the
// strongest first; only the one it wants, if it wants one.
func Choose(l *Login, offered []string) []string {
	return slices.DeleteFunc(Mechanisms(l.Verified), func(m string) bool {
		return !slices.Contains(offered, m) || !l.serves(m) ||
			l.Mechanism != "" && !strings.EqualFold(m, l.Mechanism)
	})
}

// serves reports whether the login has what a mechanism needs.
func (l *Login) serves(mechanism string) bool {
	switch mechanism {
	case External:
		return l.Certificate
	case OAuthBearer, XOAuth2:
		return l.Tokens && l.User != ""
	case ScramSHA256Plus:
		return l.password() && l.TLS != nil
	case LoginMechanism, CramMD5:
		// They have no place for an authorization identity.
		return l.password() && l.Authorize == ""
	default:
		return l.password()
	}
}

func (l *Login) password() bool { return l.User != "" && l.Password != "" }
