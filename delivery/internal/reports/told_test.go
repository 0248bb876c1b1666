package reports

import (
	"strconv"
	"testing"
)

// TestTold: a message is known until so many more were told of that all are forgotten,
// which costs memory no more than that.
func TestTold(t *testing.T) {
	var told Told
	if told.Has("0") {
		t.Error("0 is known before anybody was told")
	}
	for i := range maxTold {
		told.Add(strconv.Itoa(i))
	}
	for i := range maxTold {
		if !told.Has(strconv.Itoa(i)) {
			t.Fatalf("%d is forgotten", i)
		}
	}
	told.Add("next")
	if !told.Has("next") || told.Has("0") || len(told.ids) != 1 {
		t.Errorf("%d are known past the limit, want the next one alone", len(told.ids))
	}
}
