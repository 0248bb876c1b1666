package storeys

import (
	"slices"
	"strings"
	"testing"
)

func TestBuild(t *testing.T) {
	for _, c := range []struct {
		name    string
		uses    string // "ab" is a that uses b
		files   string
		back    int
		storeys int
	}{
		{"nothing", "", "", 0, 0},
		{"a chain", "ca ab", "abc", 0, 3},
		{"two users of one", "ac bc", "abc", 0, 2},
		{"a pair", "ab ba", "ab", 1, 2},
		{"a ring", "ab bc cd da", "abcd", 1, 4},
		{"a ring with a shortcut", "ab bc cd da ac bd", "abcd", 1, 4},
		{"two rings, one above the other", "ab ba cd dc bc", "abcd", 2, 2},
		{"a file in two rings", "ab ba bc cb", "abc", 2, 2},
		{"one above a ring and one below", "xa ab bc ca by", "abcxy", 1, 3},
		{"all use each other", "ab ac ba bc ca cb", "abc", 3, 3},
		{"two rings of three with a file in common, and a shortcut", "ab bc ca ad de ea eb", "abcde", 2, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := make(Graph)
			for _, use := range strings.Fields(c.uses) {
				for _, file := range strings.Split(use, "") {
					if g[file] == nil {
						g[file] = make(map[string]bool)
					}
				}
				g[use[:1]][use[1:]] = true
			}
			d := build("", g)
			for file, up := range d.Back {
				for _, used := range up {
					if slices.Index(d.order, used) > slices.Index(d.order, file) {
						t.Errorf("%s is below %s in %q", used, file, d.order)
					}
				}
			}
			if back := d.BackUp(); back != c.back {
				t.Errorf("%d uses run back up in %q, want %d", back, d.order, c.back)
			}
			if d.Storeys != c.storeys {
				t.Errorf("%q stand on %d storeys, want %d", d.order, d.Storeys, c.storeys)
			}
			sorted := slices.Sorted(slices.Values(d.order))
			if got := strings.Join(sorted, ""); got != c.files {
				t.Errorf("drawn are %q, want %q", got, c.files)
			}
			for file, used := range g {
				for u := range used {
					if !slices.Contains(d.Back[file], u) && d.Storey[file] <= d.Storey[u] {
						t.Errorf("%s on storey %d uses %s on %d", file, d.Storey[file], u, d.Storey[u])
					}
				}
			}
		})
	}
}
