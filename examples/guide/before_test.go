package guide

import "net/smtp"

// withNetSMTP is the old program, with net/smtp.
func withNetSMTP(addr string, auth smtp.Auth, to []string, content []byte) error {
	return smtp.SendMail(addr, auth, "app@example.org", to, content)
}
