package smtptest

func (s *session) auth(c command) error {
	return s.reply(Auth, "504 5.5.4 "+c.arg+" is not offered")
}
