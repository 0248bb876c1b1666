package delivery

// Stage is the point of an attempt at which something happened.
type Stage uint8

// The stages, in the order an attempt passes through them.
const (
	StageMessage  Stage = iota // at the door: an address or the content is not mail
	StageDNS                   // finding the route or an address
	StageConnect               // the TCP connection
	StageBanner                // the greeting
	StageHello                 // EHLO or HELO
	StageStartTLS              // STARTTLS, the handshake, the TLS policy
	StageAuth                  // AUTH
	StageMail                  // MAIL FROM
	StageRcpt                  // RCPT TO
	StageData                  // DATA, until the server is ready for the content
	StageContent               // the content, the final dot or last chunk, and its reply
)

var stageNames = [...]string{
	"message", "dns", "connect", "banner", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "content",
}

// String is the stage in one word: message, dns, connect, banner, ehlo,
// starttls, auth, mail, rcpt, data, content.
func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return "unknown"
}
