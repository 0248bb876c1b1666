package smtp

// Stage is the step of a session at which something happened.
type Stage uint8

// The stages, in the order a session passes through them.
const (
	StageIdle      Stage = iota // between transactions, before a command is sent
	StageBanner                 // the greeting
	StageHello                  // EHLO or HELO
	StageStartTLS               // STARTTLS, until its reply
	StageHandshake              // the TLS handshake
	StageAuth                   // AUTH
	StageReset                  // RSET
	StageMail                   // MAIL FROM
	StageRcpt                   // RCPT TO
	StageData                   // DATA, until 354
	StageContent                // the content, until its last octet is sent
	StageFinal                  // the reply to the final dot or a chunk
	StageQuit                   // QUIT
)

var stageNames = [...]string{
	"idle", "banner", "ehlo", "starttls", "handshake", "auth", "rset", "mail", "rcpt", "data", "content", "final", "quit",
}

// String is the stage in one word: idle, banner, ehlo, starttls, handshake,
// auth, rset, mail, rcpt, data, content, final, quit.
func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return "unknown"
}
