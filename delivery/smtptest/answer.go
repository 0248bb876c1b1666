package smtptest

import (
	"net"
	"strings"
	"time"
)

// moment is the nth time that a stage is reached.
type moment struct {
	at  Stage
	nth int
}

// now counts the stage within the connection.
func (s *session) now(at Stage) moment {
	s.counts[at]++
	return moment{at, s.counts[at]}
}

// cue is the Cue to be taken now, or nil.
func (s *session) cue(address string, now ...moment) *Cue {
	for i := range s.host.Script {
		c := &s.host.Script[i]
		if !fits(c, now) || !s.meant(c) || !s.wasSaid(c) || c.Address != "" && !strings.EqualFold(c.Address, address) {
			continue
		}
		if s.early[c] || s.soon(i, address) && s.use(i) {
			return c
		}
	}
	return nil
}

func fits(c *Cue, now []moment) bool {
	for _, m := range now {
		if c.At == m.at && (c.Nth == 0 || c.Nth == m.nth) {
			return true
		}
	}
	return false
}

// meant reports whether a cue is for this connection.
func (s *session) meant(c *Cue) bool { return c.Conn == 0 || c.Conn == s.number }

// wasSaid reports whether a cue is for the command at hand.
func (s *session) wasSaid(c *Cue) bool {
	return strings.Contains(strings.ToUpper(s.said), strings.ToUpper(c.Said)) && (s.grouped || !c.Grouped)
}

// visitor is what greylisting goes by.
type visitor struct {
	cue                   int
	client, from, mailbox string
}

// soon reports whether the time of the ith cue has not passed yet since the client came
// with these addresses for the first time.
func (s *session) soon(i int, address string) bool {
	h, until := s.host, s.host.Script[i].Until
	if until <= 0 {
		return true
	}
	v := visitor{cue: i, client: s.base.RemoteAddr().String(), mailbox: strings.ToLower(address)}
	if ip, _, err := net.SplitHostPort(v.client); err == nil {
		v.client = ip // each connection has another port
	}
	if s.tx != nil {
		v.from = strings.ToLower(s.tx.from)
	}
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	first, known := h.visitors[v]
	if !known {
		if h.visitors == nil {
			h.visitors = map[visitor]time.Time{}
		}
		first = now
		h.visitors[v] = first
	}
	return now.Sub(first) < until
}

// use counts one use of the ith cue, if it may still be taken.
func (s *session) use(i int) bool {
	h := s.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.taken == nil {
		h.taken = make([]int, len(h.Script))
	}
	if most := h.Script[i].Times; most > 0 && h.taken[i] >= most {
		return false
	}
	h.taken[i]++
	return true
}

// answer gives the reply of a stage: what the script says, else the usual one.
// ok is whether the command takes effect.
func (s *session) answer(address, usual string, now moment) (ok bool, err error) {
	text, err := s.play(address, usual, now)
	return positive(text), err
}

// positive reports whether a reply lets its command take effect.
func positive(text string) bool { return text != "" && (text[0] == '2' || text[0] == '3') }

// play is answer for what may stand for several stages, and returns the text
// that was said.
func (s *session) play(address, usual string, now ...moment) (text string, err error) {
	at := now[0].at
	c := s.cue(address, now...)
	if c == nil {
		s.excused = false
		text = lines(usual)
		err = s.say(text)
	} else {
		text, err = s.perform(c, at, usual)
	}
	// A host that does not know BDAT has read the octets as commands; a client need not
	// continue with it.
	if now[len(now)-1].at == Chunk && (strings.HasPrefix(text, "500") || strings.HasPrefix(text, "502")) {
		s.lost = true
	}
	if err == nil {
		err = s.sayEarly(at)
	}
	return text, err
}

// perform does what a cue says.
func (s *session) perform(c *Cue, at Stage, usual string) (string, error) {
	if c.Delay > 0 {
		if err := s.pauseAfterFlush(c.Delay); err != nil {
			return "", err
		}
	}
	text := c.text()
	if c.usual() {
		text = lines(usual)
	}
	if c.Then == Skip {
		s.lost = true
		return "", nil
	}
	// After an invalid or an extra reply, the client need not say QUIT; neither while a
	// reply is late, or was.
	s.lost = s.lost || text != "" && (!proper(at, text) || replies(text) > 1)
	s.excused = c.Delay > 0 || c.Drip > 0 || c.When != InTurn || text == ""
	if c.When == AfterClosed {
		if err := s.flush(); err != nil {
			return "", err
		}
		s.drain()
	}
	if !s.early[c] {
		if err := s.sayPaced(c, text); err != nil {
			return text, err
		}
	}
	delete(s.early, c)
	return text, s.then(c.Then)
}

func (s *session) sayPaced(c *Cue, text string) error {
	if c.Drip == 0 || text == "" {
		return s.say(text)
	}
	s.log(false, text)
	return s.drip(text, c.Drip, func(d time.Duration) error { return pause(s.ctx, d) })
}

func (s *session) pauseAfterFlush(d time.Duration) error {
	if err := s.flush(); err != nil {
		return err
	}
	return pause(s.ctx, d)
}

// then does what follows a reply in the script.
func (s *session) then(t Then) error {
	if t == GoOn || t == Skip {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	switch t {
	case Stall:
		s.drain()
	case StopReading:
		if s.memory != nil {
			s.memory.in.awaitEnd()
		} else {
			<-s.ctx.Done()
		}
	case Reset:
		abort(s.base)
	default:
		_ = s.base.Close()
	}
	return errOver
}

// say queues a reply.
func (s *session) say(text string) error {
	if text == "" {
		return nil
	}
	s.log(false, text)
	if strings.HasPrefix(text, "421") && s.said421 == 0 {
		s.said421 = max(s.flight, 1)
	}
	return s.put(text)
}

// sayEarly gives the replies of cues whose command may come next.
func (s *session) sayEarly(at Stage) error {
	for i := range s.host.Script {
		c := &s.host.Script[i]
		if c.When != Early || s.early[c] || !at.precedes(c.At) || !s.meant(c) || !s.use(i) {
			continue
		}
		s.early[c], s.lost = true, true
		if err := s.say(c.text()); err != nil {
			return err
		}
	}
	return nil
}

// replies counts the replies in text, by the lines that end one.
func replies(text string) int {
	n := 0
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		if len(line) < 4 || line[3] != '-' {
			n++
		}
	}
	return n
}

// longestReply is how much of a reply a client need read: far more than the 512
// octets of a line that RFC 5321 section 4.5.3.1.5 has.
const longestReply = 64 << 10

// proper reports whether text is a single valid reply at a stage; after any other, the
// client is not held to the rules.
func proper(at Stage, text string) bool {
	if text == "" || len(text) > longestReply {
		return false
	}
	var code string
	rest := strings.TrimSuffix(text, "\r\n")
	for line := range strings.SplitSeq(rest, "\r\n") {
		if len(line) < 3 || code != "" && line[:3] != code {
			return false
		}
		code = line[:3]
	}
	switch code[0] {
	case '2':
		return at != Data
	case '3':
		return at == Data || at == Auth || at == AuthReply
	case '4', '5':
		return true
	default:
		return false
	}
}
