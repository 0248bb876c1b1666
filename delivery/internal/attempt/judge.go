package attempt

// rule is one row of the verdict table: a reply's class at a stage, narrowed by
// code or enhanced status where those say more.
type rule struct {
	stage    Stage  // StageMessage, at which there are no replies, means any
	class    int    // first digit of the reply code
	code     int    // 0: any of the class
	enhanced string // the status code; "": any
	verdict  Verdict
}

// replyRules returns the verdict table for replies of hosts. The first row that matches
// decides. A reply that matches no row is NotNow, so temporary classes need no rows,
// including 421 and 454 in reply to any command (RFC 5321 section 4.2.1; requirements
// SMTP-16, SMTP-17, SMTP-19).
//
// The code decides the class: an enhanced status of another class ("550 4.2.2", "450
// 5.1.1") is discarded before this (RFC 2034 section 4, EXT-16). Within a class the
// status is more specific and takes precedence.
//
// A function returns it so that it cannot be changed.
func replyRules() []rule {
	return []rule{
		// The login is asked for, or refused, whatever command the answer is to: the
		// operator's affair, and never the message's (RFC 4954 section 6, RFC 3207
		// section 4; QUE-15, EXT-20). The enhanced status says so of any code.
		{StageMessage, 5, 530, "", NotNow},
		{StageMessage, 5, 534, "", NotNow},
		{StageMessage, 5, 535, "", NotNow},
		{StageMessage, 5, 538, "", NotNow},
		{StageMessage, 5, 0, "5.7.8", NotNow},
		{StageMessage, 5, 0, "5.7.9", NotNow},
		{StageMessage, 5, 0, "5.7.10", NotNow},
		{StageMessage, 5, 0, "5.7.11", NotNow},
		// "Bad sequence of commands" speaks of the session: a command was lost
		// (RFC 5321 section 4.2.2).
		{StageMail, 5, 503, "", NotNow},
		{StageRcpt, 5, 503, "", NotNow},
		{StageData, 5, 503, "", NotNow},
		// The host speaks of itself (RFC 7504 section 3; SMTP-2).
		{StageBanner, 5, 0, "", HostRefuses},
		{StageHello, 5, 0, "", HostRefuses},
		// Trouble with TLS or credentials is ours or the operator's (RFC 3207
		// section 4.2, RFC 4954 section 6; TLS-4, EXT-20).
		{StageStartTLS, 5, 0, "", NotNow},
		{StageAuth, 5, 0, "", NotNow},
		// A firm answer about the message or the recipient ends the walk
		// (RFC 5321 section 5.1; MX-22, SMTP-22, SMTP-23, SMTP-27).
		{StageMail, 5, 0, "", Refused},
		{StageRcpt, 5, 0, "", Refused},
		{StageData, 5, 0, "", Refused},
		{StageContent, 5, 0, "", Refused},
		{StageContent, 2, 0, "", Taken},
	}
}

// Judge returns the verdict for a host's reply at a stage, from the table. enhanced is
// the status code of the reply, or "". A reply that is invalid at its stage is NotNow.
func Judge(stage Stage, code int, enhanced string) Verdict {
	for _, r := range replyRules() {
		if (r.stage == stage || r.stage == StageMessage) && r.class == code/100 && (r.code == 0 || r.code == code) &&
			(r.enhanced == "" || r.enhanced == enhanced) {
			return r.verdict
		}
	}
	return NotNow
}
