package smtptest

import (
	"strconv"
	"strings"
)

// transaction is what lies between MAIL and the reply to the final dot.
type transaction struct {
	from       string
	params     []string
	recipients []Recipient
	arrived    int // RCPT commands
	rcpts      int // of those the ones that were answered
	rcptFlight int // of the last RCPT

	utf8, binary, eightBit bool
	declared               int64 // SIZE=, or -1
	nonASCII               bool  // an address needs SMTPUTF8

	chunks  []int
	bdats   int
	refused int // the flight in which a chunk was refused; 0 if none
	last    int // the flight of the chunk with LAST; 0 if none
	body    *body
}

func (s *session) sayHello(c command) error {
	s.checkHello(c.arg)
	at := stageOf(c.verb, s.rehello)
	var usual string
	switch {
	case c.verb == "EHLO" && s.host.NoEHLO:
		usual = "502 5.5.1 not implemented"
	case c.verb == "HELO":
		usual = "250 " + s.host.name()
	default:
		usual = multiline("250", append([]string{s.host.name() + " greets you"}, s.offered()...))
	}
	text, err := s.play("", usual, s.now(at))
	if err != nil || !strings.HasPrefix(text, "250") {
		return err
	}
	s.hello, s.extended, s.rehello, s.tx = c.arg, c.verb == "EHLO", false, nil
	s.extensions = extensions{}
	if s.extended {
		s.extensions = parseExtensions(replyLines(text)[1:])
	}
	return nil
}

// multiline makes one reply of several lines.
func multiline(code string, list []string) string {
	var b strings.Builder
	for i, l := range list {
		sep := "-"
		if i == len(list)-1 {
			sep = " "
		}
		b.WriteString(code + sep + l + "\n")
	}
	return b.String()
}

// replyLines are the texts behind the codes of a reply.
func replyLines(text string) []string {
	var list []string
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		list = append(list, line[min(4, len(line)):])
	}
	return list
}

func (s *session) mail(c command) error {
	s.mailFlight = s.flight
	if s.hello == "" {
		return s.reply(Mail, "503 5.5.1 EHLO first")
	}
	if s.tx != nil {
		s.breach(RuleNestedMail, "MAIL "+c.arg)
		return s.reply(Mail, "503 5.5.1 there is a transaction already")
	}
	usual := "250 2.1.0 ok"
	if !s.checkParams(c) {
		usual = "555 5.5.4 parameter not recognised"
	}
	if hasParam(c.params, "REQUIRETLS") && !s.tls {
		s.breach(RuleRequireTLS, "MAIL "+c.arg)
	}
	if most := s.mostMessages(); most > 0 && s.begun >= most {
		if s.limit("MAILMAX") > 0 {
			s.breach(RuleMessageLimit, "MAIL "+c.arg)
		}
		if err := s.reply(Mail, "421 4.7.0 enough messages"); err != nil {
			return err
		}
		return s.then(Close)
	}
	declared := int64(-1)
	if n, err := strconv.ParseInt(param(c.params, "SIZE"), 10, 64); err == nil {
		declared = n
	}
	if most := s.extensions.size(); most > 0 && declared > most {
		s.breach(RuleOverLimit, "MAIL "+c.arg)
		usual = "552 5.3.4 too big"
	}
	address := c.path
	if address == "" {
		address = "<>"
	}
	ok, err := s.answer(address, usual, s.now(Mail))
	if ok {
		s.begun++
		s.begin(c, declared)
	}
	return err
}

func (s *session) begin(c command, declared int64) {
	body := strings.ToUpper(param(c.params, "BODY"))
	s.tx = &transaction{
		from: c.path, params: c.params, declared: declared,
		utf8: hasParam(c.params, "SMTPUTF8"), binary: body == "BINARYMIME",
		eightBit: body == "8BITMIME" || body == "BINARYMIME", nonASCII: !isASCII(c.path),
	}
	s.tx.body = newBody(s, s.tx)
}

// limit is a value of LIMITS in the newest EHLO.
func (s *session) limit(name string) int { return s.extensions.limit(name) }

func (s *session) mostMessages() int {
	return least(s.host.MaxMessages, s.limit("MAILMAX"))
}

// least returns the smaller of two limits; 0 means no limit.
func least(a, b int) int {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (s *session) rcpt(c command) error {
	if s.tx == nil {
		s.outOfOrder("RCPT " + c.arg)
		return s.reply(Rcpt, "503 5.5.1 MAIL first")
	}
	tx := s.tx
	tx.arrived++
	tx.rcptFlight = s.flight
	tx.nonASCII = tx.nonASCII || !isASCII(c.path)
	usual := "250 2.1.5 ok"
	if !s.checkParams(c) {
		usual = "555 5.5.4 parameter not recognised"
	}
	if s.overLimits(c) {
		usual = "452 4.5.3 too many recipients"
	}
	text, err := s.play(c.path, usual, moment{Rcpt, tx.arrived})
	if text != "" {
		tx.rcpts++
	}
	if positive(text) {
		tx.recipients = append(tx.recipients, Recipient{Address: c.path, Params: c.params})
	}
	return err
}

// overLimits applies MaxRecipients and LIMITS to one more RCPT.
func (s *session) overLimits(c command) bool {
	announced := s.limit("RCPTMAX")
	if announced > 0 && s.tx.arrived > announced {
		s.breach(RuleRecipientLimit, "RCPT "+c.arg)
	}
	if _, domain, ok := cutMailbox(c.path); ok {
		s.domains[strings.ToLower(domain)] = true
		if most := s.limit("RCPTDOMAINMAX"); most > 0 && len(s.domains) > most {
			s.breach(RuleDomainLimit, "RCPT "+c.arg)
		}
	}
	most := least(s.host.MaxRecipients, announced)
	return most > 0 && len(s.tx.recipients) >= most
}

// outOfOrder reports a command that needs a transaction there is none of,
// except where it was sent together with a MAIL that was refused.
func (s *session) outOfOrder(detail string) {
	if s.mailFlight == 0 || s.known(s.mailFlight) {
		s.breach(RuleSequence, detail)
	}
}

func (s *session) reset() error {
	ok, err := s.answer("", "250 2.0.0 ok", s.now(Rset))
	if ok {
		s.tx = nil
	}
	return err
}

func (s *session) quit() error {
	if err := s.reply(Quit, "221 2.0.0 bye"); err != nil {
		return err
	}
	return s.then(Close)
}
