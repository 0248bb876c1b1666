package smtp

// LimitOctets is how much the server may say in the session, for tests that would
// have to wait for 64 MiB else.
func (s *Session) LimitOctets(n int64) { s.rd.limits.sessionBytes = n }
