package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// edit replaces the octets from up to to of a file by a text. One that opens or
// closes something says how far that reaches, so that what is nested stays so.
type edit struct {
	from, to int
	text     string
	closes   bool
	until    int // the other end of what is opened or closed
	order    int

	// wrap sets these: what stands before and after a node.
	node  ast.Node
	after string
}

func wrap(n ast.Node, before, after string) edit { return edit{node: n, text: before, after: after} }

// switchFile is the file that is added to each package that is broken.
const switchFile = "zz_mutants.go"

// instrument writes the sources with all mutants below dir, and returns the name
// of the file that tells go test -overlay of them.
func instrument(dir string, packages []*loaded, mutants []*mutant) (string, error) {
	byFile := make(map[string][]edit)
	for _, m := range mutants {
		byFile[m.source] = append(byFile[m.source], m.edits...)
	}
	replace := make(map[string]string)
	write := func(original, text string) error {
		copied := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		replace[original] = copied
		return os.WriteFile(copied, []byte(text), 0o600)
	}
	for _, p := range packages {
		var broken bool
		for i, file := range p.files {
			name := p.set.Position(file.Pos()).Filename
			if edits := byFile[name]; len(edits) > 0 {
				broken = true
				if err := write(name, apply(p.texts[i], edits)); err != nil {
					return "", err
				}
			}
		}
		if broken {
			text := strings.NewReplacer("package mutated", "package "+p.name,
				"zzMutants = 0", "zzMutants = "+strconv.Itoa(len(mutants))).Replace(switchSource)
			if err := write(filepath.Join(p.dir, switchFile), text); err != nil {
				return "", err
			}
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, overlay, 0o600)
}

// apply makes the edits. At one place what closes comes before what opens, the
// innermost closes first, and the outermost opens first.
func apply(text []byte, edits []edit) string {
	slices.SortStableFunc(edits, func(a, b edit) int {
		switch {
		case a.from != b.from:
			return a.from - b.from
		case a.closes != b.closes:
			if a.closes {
				return -1
			}
			return 1
		case a.until != b.until:
			return b.until - a.until // both open: the one that reaches farther; both close: the one that began later
		case a.closes:
			return b.order - a.order
		}
		return a.order - b.order
	})
	var out strings.Builder
	at := 0
	for _, e := range edits {
		out.Write(text[at:e.from])
		out.WriteString(e.text)
		at = e.to
	}
	out.Write(text[at:])
	return out.String()
}
