package main

import (
	"strings"
	"testing"
)

func TestStory(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"choice 1: mail.example.com", "connection refused", "BDAT", "delivered by mx2.example.com"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the story lacks %q:\n%s", want, out.String())
		}
	}
}
