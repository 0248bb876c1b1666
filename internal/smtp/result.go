package smtp

import "time"

// State is the result for one recipient in one transaction. The zero value is NotTried.
type State uint8

// The states.
const (
	// NotTried: the server has not decided about the recipient. If there is no Err,
	// offer it again in a new transaction; a limit of the server or an unknown
	// parameter prevented it, and will not do so again. If there is one, Err says why
	// it was not offered.
	NotTried State = iota
	// Delivered: the server took the message for it. Reply is that to the
	// content.
	Delivered
	// Refused: Reply is the refusal, 4yz or 5yz, and Stage is the command it answers:
	// MAIL, RCPT, DATA or the content.
	Refused
	// Failed: the transaction ended before an answer, and the message was
	// certainly not taken for it. Err is why.
	Failed
	// Unknown: the message was sent completely and the answer was lost, so it is
	// unknown whether it was accepted (RFC 1047). Err says why.
	Unknown
)

var stateNames = [...]string{"not tried", "delivered", "refused", "failed", "unknown"}

// String is the state in a few words.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "?"
}

// RcptResult is the result for one recipient.
type RcptResult struct {
	State State
	Stage Stage // what Reply answers
	Reply Reply // the deciding one; zero if none decided

	// Err says why no reply decided. It is nil if one did, and if the recipient should
	// be offered again. It is Result.Err, except for a recipient that is Unfit by
	// itself: its address needs SMTPUTF8, which the server does not offer.
	Err *Error
}

// Result is the result of one transaction.
type Result struct {
	// Rcpts has an entry per recipient, in the order of Transaction.To. It is
	// good until the session's next Send, which uses its memory again.
	Rcpts []RcptResult

	// Mail is the reply to MAIL; zero if there was none.
	Mail Reply

	// Final is the reply to the content; zero if there was none.
	Final Reply

	// ContentAt is when the first octets of the content went out that did not go
	// along with the envelope, and AwaitedAt since when the reply to the last of the
	// content was waited for; zero if it did not come to that.
	ContentAt, AwaitedAt time.Time

	// Err says what ended the transaction if no deciding reply did: the connection, a
	// protocol error, the content, the context. It is nil if every recipient has been
	// decided, or may be offered again.
	Err *Error

	// Unknown reports that some recipient's state is Unknown.
	Unknown bool

	// Doubt has the options that the session could have left out and that may have
	// caused the failure. If it has Now, Err is Incapable.
	Doubt Doubt

	// Stale is true if the session, which had carried mail before, could not be used
	// for this transaction: it was closed before it answered MAIL, had reached its
	// limit of recipient domains, or refused RSET. All recipients are NotTried, and one
	// try on a new session to the same host should follow.
	//
	// If MaybeSent is set, it is not certain that the host does not have the message:
	// the content was sent along with the envelope, and the host may have accepted it
	// and lost every answer. It is far more likely that it had ended the session before
	// it read anything. The same host may be given the message again, but no other: "at
	// least once" is kept, and the risk that two hosts have it is avoided.
	Stale     bool
	MaybeSent bool
}
