package attempt

import (
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// opening are the options whose turn comes before MAIL.
const opening = smtp.OptEHLO | smtp.OptTLS | smtp.OptModern | smtp.OptInitial | smtp.OptExternal | smtp.OptScramPlus | smtp.OptScram |
	smtp.OptOAuthBearer | smtp.OptXOAuth2 | smtp.OptPlain | smtp.OptLogin | smtp.OptCramMD5

// tried are the options that a transaction was made without for the first time: a session
// from before has not begun without those that this hop is to leave out at its beginning.
func tried(h *session.Hop, sess *session.Session) smtp.Option {
	if sess.Reused {
		return h.Without &^ opening
	}
	return h.Without
}

// leftOut are the options that a session did without.
func leftOut(h *session.Hop, sess *session.Session) smtp.Option {
	return tried(h, sess) | sess.Began&opening
}
