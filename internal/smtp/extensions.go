package smtp

// Extensions has what the latest EHLO reply offers (RFC 5321 section 4.1.1.1). After
// HELO it has only a Greeting and a Remark.
type Extensions struct {
	// Greeting is the server's own name (RFC 5321 section 4.1.1.1), which proves
	// nothing. Remark is the rest of that line.
	Greeting string
	Remark   string

	ESMTP               bool // EHLO was taken
	Pipelining          bool // RFC 2920
	Chunking            bool // RFC 3030
	BinaryMIME          bool // RFC 3030
	EightBitMIME        bool // RFC 6152
	SMTPUTF8            bool // RFC 6531
	StartTLS            bool // RFC 3207
	EnhancedStatusCodes bool // RFC 2034
	DSN                 bool // RFC 3461
	RequireTLS          bool // RFC 8689
	DeliverBy           bool // RFC 2852
	MTPriority          bool // RFC 6710

	// Size says that SIZE is offered (RFC 1870) and MaxSize is the largest
	// message; 0 is unknown or unlimited.
	Size    bool
	MaxSize int64

	// Auth are the mechanisms of AUTH in capitals (RFC 4954), and AuthParameter
	// says that it is RFC 4954 that is offered, which has a parameter of MAIL.
	Auth          []string
	AuthParameter bool

	// Limits are the server's (RFC 9422).
	Limits  ServerLimits
	limited bool // they were stated
}
