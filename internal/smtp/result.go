package smtp

import "time"

// State is what became of one recipient in one transaction. The zero value is
// NotTried.
type State uint8

// The states.
const (
	// NotTried: the server has not judged the recipient. Where it has
	// no Err, offer it again, in a new transaction; a limit of the server or a
	// parameter it did not know stood in the way, and it will not stand there
	// twice. Where it has one, Err is why it was not offered.
	NotTried State = iota
	// Delivered: the server took the message for it. Reply is that to the
	// content.
	Delivered
	// Refused: Reply is the refusal, 4yz or 5yz, and Stage is what it answers:
	// MAIL, RCPT, DATA or the content.
	Refused
	// Failed: the transaction ended before an answer, and the message was
	// certainly not taken for it. Err is why.
	Failed
	// Unknown: the message was sent to its end and the answer was lost. Nobody
	// knows whether it was taken (RFC 1047). Err is why.
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

// RcptResult is what became of one recipient.
type RcptResult struct {
	State State
	Stage Stage // what Reply answers
	Reply Reply // the deciding one; zero where none decided

	// Err is why no reply decided; nil where one did, and where the recipient
	// is to be offered again. It is Result.Err, but for a recipient that is
	// Unfit by itself: one whose address needs SMTPUTF8 where that is missing.
	Err *Error
}

// Result is what became of one transaction.
type Result struct {
	// Rcpts has an entry per recipient, in the order of Transaction.To. It is
	// good until the session's next Send, which uses its memory again.
	Rcpts []RcptResult

	// Mail is the reply to MAIL; zero where there was none.
	Mail Reply

	// Final is the reply to the content; zero where there was none.
	Final Reply

	// ContentAt is when the first octets of the content went out that did not go
	// along with the envelope, and AwaitedAt since when the reply to the last of the
	// content was waited for; zero if it did not come to that.
	ContentAt, AwaitedAt time.Time

	// Err is what ended the transaction where no reply that decides did: the
	// connection, a protocol error, the content, the context. nil where every
	// recipient has been judged, or may be offered again.
	Err *Error

	// Unknown reports that some recipient's state is Unknown.
	Unknown bool

	// Doubt is what may have been the cause of what went wrong, among what the
	// session could have done without. Where it has Now, Err is Incapable.
	Doubt Doubt

	// Stale reports that the session, which had carried mail before, was no good
	// from the start: closed before it answered MAIL, at its limit of recipient
	// domains, or refusing RSET. All recipients are NotTried, and one try on a
	// new session to the same host is due.
	//
	// Where MaybeSent is set it is no proof that the host has nothing: the content
	// went along with the envelope, and the host may have taken it and lost every
	// answer. Far more likely, it had given the session up before it saw any of it.
	// That host may be given the message again, but nobody else: at least once is
	// kept, and that two hosts have it is not risked for this.
	Stale     bool
	MaybeSent bool
}
