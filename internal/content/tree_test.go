package content_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/content"
)

// tree makes messages with parts within parts, and knows where it has put an
// octet beyond ASCII.
type tree struct {
	*rand.Rand
	inHeader, inBody bool
	boundaries       int
}

// header is some fields; in one of ten there is UTF-8 where that is wanted.
func (g *tree) header(extra string) string {
	s := ""
	for range g.IntN(3) {
		value := "text"
		if g.inHeader && g.IntN(10) == 0 {
			value = "téxt"
		}
		s += fmt.Sprintf("X-%d: %s\r\n", g.IntN(9), value)
	}
	return s + extra
}

// text is lines, some of which look like a header's or a boundary's.
func (g *tree) text() string {
	s := ""
	for range g.IntN(4) {
		line := []string{"text", "--", "-- ", "--other", "Subject: x", "", "--b"}[g.IntN(7)]
		if g.inBody && g.IntN(3) == 0 {
			line = "é " + line
		}
		s += line + "\r\n"
	}
	return s
}

// entity is a header and a body. In a digest a message is the default.
func (g *tree) entity(depth int, digest bool) string {
	kind := g.IntN(4)
	if depth == 0 {
		kind = 0
	}
	switch {
	case kind == 1 && digest && g.IntN(2) == 0:
		return g.header("") + "\r\n" + g.entity(depth-1, false)
	case kind == 1:
		return g.header("Content-Type: message/rfc822\r\n") + "\r\n" + g.entity(depth-1, false)
	case kind >= 2:
		return g.multipart(depth)
	default:
		return g.header("Content-Type: text/plain; charset=utf-8\r\n") + "\r\n" + g.text()
	}
}

func (g *tree) multipart(depth int) string {
	g.boundaries++
	b := fmt.Sprintf("b%d=_%d", g.boundaries, g.IntN(100))
	subtype, digest := "mixed", g.IntN(3) == 0
	if digest {
		subtype = "digest"
	}
	s := g.header("Content-Type: multipart/"+subtype+";\r\n boundary=\""+b+"\"\r\n") + "\r\n" + g.text()
	for range 1 + g.IntN(3) {
		s += "\r\n--" + b + "\r\n" + g.entity(depth-1, digest)
	}
	return s + "\r\n--" + b + "--\r\n" + g.text()
}

// TestTrees: in well-formed messages the scanner finds UTF-8 in headers where it
// is, and nowhere else.
func TestTrees(t *testing.T) {
	found := 0
	for seed := range uint64(3000) {
		g := &tree{Rand: rand.New(rand.NewPCG(seed, 1)), inHeader: seed%2 == 0, inBody: seed%3 != 0}
		in := g.entity(4, false)
		want := strings.Contains(in, ": téxt")
		b := prepare(t, memory(in), content.Origin)
		if b.UTF8Header != want {
			t.Fatalf("seed %d: UTF8Header %t, want %t:\n%s", seed, b.UTF8Header, want, in)
		}
		if want {
			found++
		}
	}
	if found < 300 || found > 2700 {
		t.Errorf("%d of 3000 messages have UTF-8 in a header: too few, or too many", found)
	}
}
