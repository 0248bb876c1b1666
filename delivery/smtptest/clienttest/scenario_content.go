package clienttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// longContent has dot lines all over, and fits no window.
func longContent() string {
	return "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 60)+"\r\n.\r\n", 3000)
}

// contentScenarios are about what lies between DATA and the final dot.
func contentScenarios() []*Scenario {
	const dots = "RFC 5321 section 4.5.2"
	dotted := "Subject: x\r\n\r\n.\r\n..\r\n.a\r\nb.\r\n"
	long := longContent()
	plainly := func(name, section string, c queue.Content, arrives string) *Scenario {
		return at(name, section, offers(), offers(), sends(c, arrives), visits(mx1))
	}
	return []*Scenario{
		plainly("dots at the start of lines are doubled", dots, queue.String(dotted), dotted),
		plainly("a dot at the very start is doubled", dots, queue.String(".x: y\r\n\r\n"), ".x: y\r\n\r\n"),
		plainly("dots are doubled wherever a piece of the content ends", dots, pieces{content: long, size: 7}, long),
		plainly("dots are doubled in large pieces", dots, pieces{content: long, size: 4096}, long),
		plainly("a line end is added where the last is missing", "RFC 5321 section 4.1.1.4", queue.String("Subject: x\r\n\r\nend"), "Subject: x\r\n\r\nend\r\n"),
		plainly("no empty line is added at the end", "RFC 5321 section 4.1.1.4", queue.String(someContent), someContent),
		plainly("bare line feeds do not go over the wire", "RFC 5321 section 2.3.8", queue.String("Subject: x\n\nhello\n.\nbye\n"), "Subject: x\r\n\r\nhello\r\n.\r\nbye\r\n"),
		at("chunks carry dots as they are", "RFC 3030 section 2", offers("CHUNKING", "PIPELINING"), offers(), sends(queue.String(dotted), dotted), visits(mx1)),
		at("a message is one LAST and no more", "RFC 3030 section 2", offers("CHUNKING"), offers(), sends(pieces{content: long, size: 1000}, long), visits(mx1)),
		at("a host that offers CHUNKING and does not know BDAT still gets its mail", "RFC 3030 section 2",
			&smtptest.Host{Extensions: []string{"CHUNKING"}, Script: []smtptest.Cue{{At: smtptest.Chunk, Reply: "500 5.5.1 what"}}}, offers()),
		at("content that cannot be read to its end is no message", "RFC 5321 section 4.1.1.4", offers(), offers(),
			sends(broken{content: someContent, after: 12}, ""), wants(queue.Deferred), judged(untouched)),
		at("content that cannot be read is no message in chunks, either", "RFC 3030 section 2", offers("CHUNKING", "PIPELINING"), offers(),
			sends(broken{content: someContent, after: 12}, ""), wants(queue.Deferred), judged(untouched)),
		at("content shorter than it was announced is no message", "RFC 1870 section 6.3", offers("SIZE"), offers(),
			sends(pieces{content: someContent, size: 100, lie: 10}, ""), wants(queue.Deferred), judged(untouched)),
		at("content longer than it was announced is no message", "RFC 1870 section 6.3", offers("SIZE"), offers(),
			sends(pieces{content: someContent, size: 100, lie: -10}, ""), wants(queue.Deferred), judged(untouched)),
	}
}

// untouched judges that no host received a whole message, taken or not.
func untouched(s *Scenario) string {
	for name, h := range s.internet.Hosts {
		if got := h.Received(); len(got) > 0 {
			return fmt.Sprintf("%s received the content %.100q", name, got[0].Content)
		}
	}
	return ""
}

// extensionScenarios are about what hosts offer and what they do not.
func extensionScenarios() []*Scenario {
	const big = someContent + "and some more of it\r\n"
	eight := sends(queue.String(eightBitContent), eightBitContent)
	return []*Scenario{
		at("a message over the host's SIZE goes to one that takes it", "RFC 1870 section 6.1", offers("SIZE 30"), offers("SIZE 3000"), sends(queue.String(big), big),
			judged(func(s *Scenario) string {
				if got := s.internet.Hosts[mx2].Messages(); len(got) != 1 {
					return "the host that takes it got nothing"
				}
				return ""
			})),
		at("a message over every host's SIZE is final", "RFC 1870 section 6.1", offers("SIZE 30"), offers("SIZE 40"), sends(queue.String(big), big), wants(queue.Failed)),
		at("SIZE 0 is no limit", "RFC 1870 section 4", offers("SIZE 0"), offers(), visits(mx1)),
		at("8-bit content is declared", "RFC 6152 section 3", offers("8BITMIME"), offers(), eight, visits(mx1)),
		at("8-bit content goes to a host that takes it", "RFC 6152 section 3", offers(), offers("8BITMIME"), eight),
		at("8-bit content that no host takes does not go out", "RFC 6152 section 3", offers(), offers(), eight, wants(queue.Failed)),
		at("an address beyond ASCII is declared", "RFC 6531 section 3.4", offers("SMTPUTF8", "8BITMIME"), offers(), to("jö@example.com"), visits(mx1)),
		at("an address beyond ASCII goes to a host that takes it", "RFC 6531 section 3.2", offers(), offers("SMTPUTF8", "8BITMIME"), to("jö@example.com")),
		at("SMTPUTF8 is not used for ASCII mail", "RFC 6531 section 3.4", offers("SMTPUTF8", "8BITMIME"), offers(), visits(mx1)),
		at("what was offered in clear is forgotten inside TLS", "RFC 3207 section 4.2",
			&smtptest.Host{Extensions: []string{"STARTTLS", "DSN", "SIZE"}, ExtensionsTLS: []string{"HELP"}}, offers(), reported),
		at("a pipelining host gets its mail", "RFC 2920 section 3.1", offers("PIPELINING"), offers(), visits(mx1)),
		at("a host with everything gets its mail", "RFC 5321 section 2.2",
			offers("PIPELINING", "CHUNKING", "SIZE 1000000", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "STARTTLS", "LIMITS RCPTMAX=100 MAILMAX=10"), offers(), visits(mx1)),
		at("replies that do not fit their commands lead to the next host", "RFC 2920 section 3.1",
			&smtptest.Host{Extensions: []string{"PIPELINING"}, Script: []smtptest.Cue{{At: smtptest.Rcpt, Nth: 1, Then: smtptest.Skip}}}, offers(),
			to("a@example.com", "b@example.com"), visits(mx1, mx2)),
	}
}

// pieces is content whose reader yields a few octets at a time, and whose size
// may be announced wrongly.
type pieces struct {
	content string
	size    int
	lie     int
}

func (p pieces) Size() int64 { return int64(len(p.content) + p.lie) }

func (p pieces) Open() (io.ReadCloser, error) {
	return io.NopCloser(&pieceReader{strings.NewReader(p.content), p.size}), nil
}

type pieceReader struct {
	r    io.Reader
	most int
}

func (r *pieceReader) Read(p []byte) (int, error) { return r.r.Read(p[:min(len(p), r.most)]) }

// broken is content whose reader fails.
type broken struct {
	content string
	after   int
}

var errBroken = errors.New("smtptest: content cannot be read")

func (b broken) Size() int64 { return int64(len(b.content)) }

func (b broken) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader([]byte(b.content[:b.after])), failing{})), nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }
