package index

import (
	"slices"
	"testing"
)

// TestSurveyWhileDestinationsGo has a destination go while they are counted, and another
// get its number: what is known of that is not taken for the first one's.
func TestSurveyWhileDestinationsGo(t *testing.T) {
	x := New()
	s := x.set(5, "a", "", start)
	x.set(6, "b", "", start)
	v := &Survey{Max: 10}
	if x.Count(v, 10) {
		t.Fatal("there are more")
	}
	number := x.names["a"]
	x.Remove(s)
	x.set(4, "c", "", start)
	if n := x.names["c"]; n != number {
		t.Fatalf("another has number %d: this shows nothing", n)
	}
	v.Sort()
	v.SeekOldest()
	for x.Oldest(v, 1000) {
	}
	if v.List[0].Name != "a" || v.List[0].Oldest != 0 || v.List[1].Oldest != Number(6, 1) {
		t.Errorf("counted %+v", v.List)
	}
}

// TestSurveyWhileAllGoes empties the index while the oldest are looked for.
func TestSurveyWhileAllGoes(t *testing.T) {
	x := New()
	s := x.set(1, "a", "", start)
	v := &Survey{Max: 10}
	x.Count(v, 10)
	v.Sort()
	v.SeekOldest()
	if !x.Oldest(v, 100) || v.List[0].Oldest != Number(1, 1) {
		t.Errorf("the oldest is %d", v.List[0].Oldest)
	}
	x.Remove(s)
	before := x.Work()
	if x.Oldest(v, 100) || x.Work() < before {
		t.Error("it does not come to its end")
	}
}

// TestSurveySees counts those after a name, sorts what is found and keeps as many as are
// asked for.
func TestSurveySees(t *testing.T) {
	x := New()
	for n, name := range []string{"d", "b", "a", "c", "e"} {
		x.set(n+1, name, "", start)
	}
	x.Postpone(Postponement{Name: "f", Until: after(5)}) // nothing waits for it
	for _, c := range []struct {
		after string
		max   int
		want  []string
	}{
		{"", 10, []string{"a", "b", "c", "d", "e"}}, {"", 2, []string{"a", "b"}}, {"b", 2, []string{"c", "d"}}, {"d", 9, []string{"e"}}, {"e", 9, nil},
		{"", 0, nil},
	} {
		for _, piece := range []int{1, 3, 6, 100} {
			v := &Survey{After: c.after, Max: c.max}
			pieces := 1
			for x.Count(v, piece) {
				pieces++
			}
			v.List = append(v.List, v.List...) // as if they had come twice
			v.Sort()
			var got []string
			for _, n := range v.List {
				got = append(got, n.Name)
			}
			if !slices.Equal(got, c.want) || pieces != (6+piece-1)/piece {
				t.Errorf("after %q, at most %d: %v in %d pieces of %d, want %v", c.after, c.max, got, pieces, piece, c.want)
			}
			if v.SeekOldest(); x.Oldest(v, 5) != (len(c.want) > 0) {
				t.Errorf("after %q, at most %d: the oldest are looked for among nothing", c.after, c.max)
			}
		}
	}
}
