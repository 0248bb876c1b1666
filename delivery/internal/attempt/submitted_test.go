package attempt

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/content"
	"github.com/nexthop-mail/nexthop/queue"
)

// streamed is content that must be read.
type streamed struct{ text string }

func (s streamed) Size() int64                  { return int64(len(s.text)) }
func (s streamed) Open() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s.text)), nil }

func bodyOf(t *testing.T, c content.Source) content.Body {
	t.Helper()
	b, err := content.Prepare(c, content.Relay)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSubmittedTakesBoundedMemory: however many contents are kept, and however short they
// are, they take no more than the bound, and not much less is made use of. Long contents
// that pass through meanwhile leave no memory behind with short ones.
func TestSubmittedTakesBoundedMemory(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 10_000)
	for _, size := range []int{0, 3, 99, 999, mostOfOne - 1} {
		t.Run(fmt.Sprintf("contents of %d octets", size), func(t *testing.T) {
			var s Submitted
			s.SwitchOn(true)
			body := bodyOf(t, queue.String(strings.Repeat("x\r\n", size/3)))
			n := 3 * mostSubmitted / (size + ofEach)
			for i := range n {
				if i%10 == 0 && i < 200 {
					large := bodyOf(t, streamed{long})
					large.Release()
				}
				if s.Keep(fmt.Sprint(i), &body); s.youngSize > mostSubmitted/2 {
					t.Fatalf("%d octets of %d", s.youngSize, mostSubmitted/2)
				}
			}
			var held int64
			kept := 0
			for i := range n {
				if b := s.Take(fmt.Sprint(i)); b != nil {
					held += int64(cap(b.Bytes())) + ofEach
					if kept++; s.Take(fmt.Sprint(i)) != nil {
						t.Fatal("one content was taken twice")
					}
				} else if kept > 0 {
					t.Fatalf("%d has gone, and one that was kept earlier has not", i)
				}
			}
			if held > mostSubmitted || held < mostSubmitted/2-2*mostOfOne || kept*(size+ofEach) < mostSubmitted/8 {
				t.Errorf("%d contents are kept in %d octets, want up to %d", kept, held, mostSubmitted)
			}
		})
	}
}

// TestSubmittedAfterwards: what was taken, or was kept while no agent runs, is not there any
// more, and takes no room.
func TestSubmittedAfterwards(t *testing.T) {
	var s Submitted
	body := bodyOf(t, queue.String("Subject: x\r\n\r\n"+strings.Repeat("x", 900)+"\r\n"))
	has := func(id string) bool { return s.Take(id) != nil }
	s.Keep("a", &body)
	if has("a") {
		t.Error("one is kept while no agent runs")
	}
	s.SwitchOn(true)
	s.Keep("a", &body)
	if !has("a") || has("a") {
		t.Error("one is not there once")
	}
	s.Keep("b", &body)
	for range mostSubmitted / 1000 { // each gives its room back
		s.Keep("c", &body)
		if !has("c") {
			t.Fatal("one that was kept just now is not there")
		}
	}
	if !has("b") {
		t.Error("one has gone though there was room")
	}
	s.Keep("d", &body)
	s.SwitchOn(false)
	s.Keep("e", &body)
	if s.SwitchOn(true); has("d") || has("e") {
		t.Error("one is kept from an earlier run")
	}
}

// TestSubmittedAndTooLong: contents that are long, or not in memory, are not kept.
func TestSubmittedAndTooLong(t *testing.T) {
	var s Submitted
	s.SwitchOn(true)
	for octets, want := range map[int]bool{mostOfOne: true, mostOfOne + 1: false, 3 << 20: false} {
		body := bodyOf(t, streamed{strings.Repeat(strings.Repeat("x", 62)+"\r\n", octets/64)})
		if octets%64 != 0 {
			body.Release()
			body = bodyOf(t, queue.String(strings.Repeat("x", 63)+"\r\n"+strings.Repeat(strings.Repeat("x", 62)+"\r\n", octets/64-1)))
		}
		if body.Octets != int64(octets) {
			t.Fatalf("%d octets, want %d", body.Octets, octets)
		}
		if s.Keep("a", &body); (s.Take("a") != nil) != want {
			t.Errorf("%d octets are kept: %t", octets, !want)
		}
		body.Release()
	}
}
