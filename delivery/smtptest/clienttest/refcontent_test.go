package clienttest_test

import (
	"fmt"
	"strings"
	"time"
)

// send sends the content and returns the verdict on it.
func (d *dialogue) send(text string) verdict {
	if d.offers("CHUNKING") && !d.has("DATA is used although chunks are mixed in") {
		return d.chunks(text)
	}
	r := d.ask("DATA", 2*time.Minute)
	if r.code != 354 && !(r.class() == 2 && d.has("content follows any reply to DATA")) {
		if r.class() == 2 {
			d.broken = true
		}
		if r.class() == 5 {
			return refused
		}
		return notNow
	}
	if !d.write(d.stuff(text) + ".\r\n") {
		return notNow
	}
	return d.final(d.read(10 * time.Minute))
}

// stuff doubles dots.
func (d *dialogue) stuff(text string) string {
	var b strings.Builder
	const piece = 64
	for i, line := range strings.SplitAfter(text, "\r\n") {
		at := b.Len()
		first := i == 0 && d.has("the very first dot is not doubled")
		edge := at%piece == 0 && at > 0 && d.has("dots at the edge of a piece are not doubled")
		if strings.HasPrefix(line, ".") && !first && !edge && !d.has("dots are not doubled") {
			b.WriteByte('.')
		}
		b.WriteString(line)
	}
	return b.String()
}

// chunks sends BDAT.
func (d *dialogue) chunks(text string) verdict {
	if d.has("dots are doubled in chunks") {
		text = d.stuff(text)
	}
	half := len(text) / 2
	last := " LAST"
	if d.has("no chunk is the last") {
		last = ""
	}
	for i, part := range []string{text[:half], text[half:]} {
		end := ""
		if i == 1 {
			end = last
		}
		if !d.write(fmt.Sprintf("BDAT %d%s\r\n%s", len(part), end, part)) {
			return notNow
		}
		r := d.read(10 * time.Minute)
		if i == 1 && end != "" || r.class() == 5 && d.has("a refused chunk refuses the message") {
			return d.final(r)
		}
		if r.class() != 2 {
			d.ask("RSET", time.Minute)
			return notNow
		}
	}
	return maybe
}

// final judges the reply to the content.
func (d *dialogue) final(r reply) verdict {
	switch r.class() {
	case 2:
		return takenIt
	case 4:
		if d.has("a 4yz after the content is final") {
			return refused
		}
		return notNow
	case 5:
		if d.has("a 5yz after the content is offered elsewhere") {
			return notNow
		}
		return refused
	default:
		switch {
		case d.has("a lost reply is tried elsewhere"):
			return notNow
		case d.has("a lost reply is a failure"):
			return refused
		case d.has("a lost reply is a success"):
			return takenIt
		}
		return maybe
	}
}
