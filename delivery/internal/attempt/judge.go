package attempt

import "strings"

// rule is one row of the verdict table: a reply's class at a stage, narrowed by
// code or enhanced status where those say more.
type rule struct {
	stage    Stage
	class    int    // first digit of the reply code
	code     int    // 0: any of the class
	enhanced string // prefix of the status code; "": any
	verdict  Verdict
}

// replyRules is the verdict table for what hosts say. The first row that fits
// decides; a reply no row fits is NotNow, so temporary classes need no rows
// (RFC 5321 section 4.2.1; requirements SMTP-16, SMTP-17, SMTP-19).
//
// A function returns it so that nobody can change it.
func replyRules() []rule {
	return []rule{
		// The host speaks of itself (RFC 7504 section 3; SMTP-2, FAULTS banner).
		{StageBanner, 5, 0, "", HostRefuses},
		{StageHello, 5, 0, "", HostRefuses},
		// Trouble with TLS or credentials is ours or the operator's, never the
		// message's (RFC 3207 section 4.2, RFC 4954 section 6; TLS-4, EXT-20).
		{StageStartTLS, 5, 0, "", NotNow},
		{StageAuth, 5, 0, "", NotNow},
		{StageMail, 5, 530, "", NotNow},
		{StageMail, 5, 534, "", NotNow},
		{StageMail, 5, 535, "", NotNow},
		{StageMail, 5, 538, "", NotNow},
		// "Bad sequence of commands" speaks of the session: a command was lost
		// (RFC 5321 section 4.2.2).
		{StageMail, 5, 503, "", NotNow},
		{StageRcpt, 5, 503, "", NotNow},
		{StageData, 5, 503, "", NotNow},
		// A firm answer about the message or the recipient ends the walk
		// (RFC 5321 section 5.1; MX-22, SMTP-22, SMTP-23, SMTP-27).
		{StageMail, 5, 0, "", Refused},
		{StageRcpt, 5, 0, "", Refused},
		{StageData, 5, 0, "", Refused},
		{StageContent, 5, 0, "", Refused},
		{StageContent, 2, 0, "", Taken},
	}
}

// Judge says what a host's reply at a stage means by the table. enhanced is the
// status code of the reply, or empty. A reply that makes no sense at its stage is NotNow.
func Judge(stage Stage, code int, enhanced string) Verdict {
	for _, r := range replyRules() {
		if r.stage == stage && r.class == code/100 && (r.code == 0 || r.code == code) &&
			strings.HasPrefix(enhanced, r.enhanced) {
			return r.verdict
		}
	}
	return NotNow
}
