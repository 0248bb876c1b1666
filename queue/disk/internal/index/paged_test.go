package index

import (
	"math/rand/v2"
	"testing"
)

// TestPaged pushes and pops over the ends of pages.
func TestPaged(t *testing.T) {
	var (
		p    paged[*int]
		want []*int
	)
	check := func() {
		t.Helper()
		v := &verifier{}
		if shape(v, &p, "a list"); v.problem != nil {
			t.Fatal(v.problem)
		}
		if p.n != len(want) {
			t.Fatalf("%d elements, want %d", p.n, len(want))
		}
		for i, w := range want {
			if *p.at(i) != w {
				t.Fatalf("element %d of %d is another", i, p.n)
			}
		}
	}
	push := func() {
		v := new(int)
		want = append(want, v)
		p.push(v)
	}
	pop := func() {
		last := len(p.pages) - 1
		page := p.pages[last]
		if got := p.pop(); got != want[len(want)-1] {
			t.Fatalf("of %d another than the last is popped", len(want))
		}
		if page[len(page)-1] != nil {
			t.Fatal("what has been popped is kept")
		}
		if len(p.pages) == last && p.pages[:last+1][last] != nil {
			t.Fatal("a page of which nothing is left is kept")
		}
		want = want[:len(want)-1]
	}
	push()
	if got := cap(p.pages[0]); got > 8 {
		t.Errorf("a list of one has room for %d", got)
	}
	check()
	pop()
	check()
	for range 2*pageLen + 1 {
		push()
	}
	if got := cap(p.pages[1]); got != pageLen || cap(p.pages[2]) != pageLen {
		t.Errorf("the second page has room for %d, the third for %d, want %d", got, cap(p.pages[2]), pageLen)
	}
	check()
	for _, s := range [][2]int{{0, 1}, {0, pageLen}, {pageLen - 1, pageLen}, {2 * pageLen, 3}, {5, 5}} {
		p.swap(s[0], s[1])
		want[s[0]], want[s[1]] = want[s[1]], want[s[0]]
	}
	check()
	rng := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		if rng.IntN(2) == 0 || len(want) == 0 {
			push()
		} else {
			pop()
		}
	}
	check()
	for len(want) > 0 {
		pop()
	}
	check()
	if len(p.pages) != 0 {
		t.Errorf("an empty list has %d pages", len(p.pages))
	}
}
