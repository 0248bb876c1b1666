package modeltest

import (
	"time"

	"pgregory.net/rapid"

	"github.com/nexthop-mail/nexthop/queue"
)

// kept is for how long outcomes are kept: longer than a run takes on its own clock.
const kept = 1000 * time.Hour

// Outcomes reads a page of outcomes, from where the one before ended or from some other
// place, and compares it.
func (m *machine) Outcomes(t *rapid.T) {
	at := m.read
	if rapid.IntRange(0, 3).Draw(t, "from elsewhere") == 0 {
		at = rapid.IntRange(0, m.read).Draw(t, "from")
	}
	after := ""
	if at > 0 {
		after = m.ended[at-1].Position
	}
	most := rapid.IntRange(1, 10).Draw(t, "max")
	page, err := queue.Outcomes(ctx(), m.q, queue.OutcomeOptions{After: after, Max: most})
	m.check(t, "Outcomes", err)
	want := m.ended[at:min(len(m.ended), at+most)]
	if len(page.Outcomes) != len(want) || page.More != (at+most < len(m.ended)) || page.Missed {
		t.Fatalf("Outcomes after the first %d = %d of %d, more %t, missed %t", at, len(page.Outcomes), len(m.ended), page.More, page.Missed)
	}
	for i, got := range page.Outcomes {
		if got.Position <= after || want[i].Position != "" && want[i].Position != got.Position {
			t.Fatalf("the position of %+v is %s after %s, and was %q before", got, got.Position, after, want[i].Position)
		}
		after = got.Position
		want[i].Position = got.Position
		if !got.Time.Equal(want[i].Time) {
			t.Fatalf("the outcome is %+v, want %+v", got, want[i])
		}
		if got.Time = want[i].Time; got != want[i] {
			t.Fatalf("the outcome is %+v, want %+v", got, want[i])
		}
	}
	m.read = max(m.read, at+len(want))
}
