package attempt

import "strconv"

// statusFor returns the enhanced status code (RFC 3463) for a reply without one, or
// with one that contradicts its code: by code and stage if they are specific, otherwise
// the bare class (RFC 5248 section 2.4; DSN-21).
func statusFor(stage Stage, code int) string {
	switch code {
	case 421, 521:
		return class(code) + ".3.2" // system not accepting messages
	case 450:
		return "4.2.0"
	case 451:
		return "4.3.0"
	case 452:
		if stage == StageRcpt {
			return "4.5.3" // too many recipients
		}
		return "4.3.1" // system full
	case 454, 530:
		return class(code) + ".7.0"
	case 455, 501, 504, 555:
		return class(code) + ".5.4" // invalid arguments
	case 500:
		return "5.5.2"
	case 502, 503:
		return "5.5.1"
	case 432:
		return "4.7.12"
	case 534:
		return "5.7.9"
	case 535:
		return "5.7.8"
	case 538:
		return "5.7.11"
	case 551:
		return "5.1.6" // has moved
	case 556:
		return "5.1.10"
	}
	return statusByStage(stage, code)
}

// statusByStage maps the codes whose meaning depends on the command they answer.
func statusByStage(stage Stage, code int) string {
	switch {
	case stage == StageBanner && code/100 == 5:
		return "5.3.2"
	case stage == StageRcpt && code == 550:
		return "5.1.1" // no such mailbox
	case stage == StageRcpt && code == 552:
		return "5.2.2" // mailbox full
	case stage == StageRcpt && code == 553:
		return "5.1.3"
	case stage == StageMail && code == 553:
		return "5.1.7"
	case stage == StageMail && code == 550:
		return "5.7.1"
	case code == 552:
		return "5.3.4" // message too big
	case stage == StageContent && code == 550, stage == StageContent && code == 554:
		return "5.6.0"
	default:
		return class(code) + ".0.0"
	}
}

// class returns the first digit of a status for a reply code; a code that is neither
// success nor permanent failure counts as temporary.
func class(code int) string {
	switch d := code / 100; d {
	case 2, 4, 5:
		return strconv.Itoa(d)
	default:
		return "4"
	}
}
