package storeys

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
)

// arrange puts files in an order in which few of them use one before them. Those
// that do not use each other in a circle have none: users come before what they use.
// The same code has the same order each time.
func arrange(g Graph) []string {
	var parts [][]string
	within := make([]Graph, 0)
	for _, circle := range circles(g) {
		w := make(Graph)
		for _, file := range circle {
			w[file] = maps.Clone(g[file])
			maps.DeleteFunc(w[file], func(used string, _ bool) bool { return !slices.Contains(circle, used) })
		}
		within = append(within, w)
		parts = append(parts, sift(w, unroll(w)))
	}
	return search(g, within, parts)
}

// circles are the files by whom they use each other with, directly or by way of
// others (Tarjan's algorithm), users before what they use.
func circles(g Graph) (list [][]string) {
	type mark struct{ number, lowest int }
	var (
		marks = make(map[string]*mark)
		stack []string
		visit func(file string) *mark
	)
	visit = func(file string) *mark {
		m := &mark{len(marks), len(marks)}
		marks[file] = m
		stack = append(stack, file)
		for _, used := range slices.Sorted(maps.Keys(g[file])) {
			if marks[used] == nil {
				m.lowest = min(m.lowest, visit(used).lowest)
			} else if slices.Contains(stack, used) {
				m.lowest = min(m.lowest, marks[used].number)
			}
		}
		if m.lowest == m.number {
			from := slices.Index(stack, file)
			circle := slices.Sorted(slices.Values(stack[from:]))
			stack = stack[:from]
			list = append(list, circle)
		}
		return m
	}
	for _, file := range slices.Sorted(maps.Keys(g)) {
		if marks[file] == nil {
			visit(file)
		}
	}
	slices.Reverse(list)
	return list
}

// unroll is a first order for the files of a circle: what nobody uses comes first
// and what uses nothing last; else the file is next that uses most of the others and
// is used by fewest (Eades, Lin and Smyth's heuristic for feedback arcs).
func unroll(g Graph) []string {
	left := slices.Sorted(maps.Keys(g))
	uses, users := make(Graph), make(Graph)
	for file := range g {
		uses[file], users[file] = maps.Clone(g[file]), make(map[string]bool)
	}
	for file, used := range g {
		for u := range used {
			users[u][file] = true
		}
	}
	remove := func(file string) {
		left = slices.DeleteFunc(left, func(s string) bool { return s == file })
		for u := range uses[file] {
			delete(users[u], file)
		}
		for u := range users[file] {
			delete(uses[u], file)
		}
	}
	var first, last []string
	for len(left) > 0 {
		if i := slices.IndexFunc(left, func(s string) bool { return len(uses[s]) == 0 }); i >= 0 {
			last = append(last, left[i])
			remove(left[i])
			continue
		}
		next := slices.MaxFunc(left, func(a, b string) int {
			return cmp.Or(
				cmp.Compare(b2i(len(users[a]) == 0), b2i(len(users[b]) == 0)),
				cmp.Compare(len(uses[a])-len(users[a]), len(uses[b])-len(users[b])),
			)
		})
		first = append(first, next)
		remove(next)
	}
	slices.Reverse(last)
	return append(first, last...)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sift moves one file after the other to the place where fewest uses run back, as
// long as that makes them fewer.
func sift(g Graph, order []string) []string {
	for better := true; better; {
		better = false
		for _, file := range slices.Clone(order) {
			from := slices.Index(order, file)
			// saved is how many fewer run back with the file at a place than now.
			most, to := 0, from
			for step := -1; step <= 1; step += 2 {
				saved := 0
				for at := from + step; at >= 0 && at < len(order); at += step {
					saved += step * (b2i(g[order[at]][file]) - b2i(g[file][order[at]]))
					if saved > most {
						most, to = saved, at
					}
				}
			}
			if most > 0 {
				order = slices.Insert(slices.Delete(order, from, from+1), to, file)
				better = true
			}
		}
	}
	return order
}

// kicks is how often the files of a circle are put in another order.
const kicks = 500

// search looks for an order with fewer uses that run back, and of several for one with
// fewer storeys. A sift ends where no single move makes it better, so it moves a few
// files of a circle at random and sifts again.
func search(g Graph, within []Graph, parts [][]string) []string {
	best := slices.Concat(parts...)
	bestBack, bestStoreys := cost(g, best)
	r := rand.New(rand.NewPCG(1, 1))
	for i, w := range within {
		if len(w) < 2 {
			continue
		}
		back, storeys := bestBack, bestStoreys
		for range kicks {
			was, order := parts[i], slices.Clone(parts[i])
			for range 2 + r.IntN(3) {
				from, to := r.IntN(len(order)), r.IntN(len(order))
				file := order[from]
				order = slices.Insert(slices.Delete(order, from, from+1), to, file)
			}
			parts[i] = sift(w, order)
			all := slices.Concat(parts...)
			b, n := cost(g, all)
			if b > back || b == back && n > storeys {
				parts[i] = was
				continue
			}
			best, back, storeys = all, b, n
		}
		bestBack, bestStoreys = back, storeys
	}
	return best
}

// cost is how many uses run back up in an order, and how many storeys it makes.
func cost(g Graph, order []string) (back, storeys int) {
	storey := make(map[string]int)
	for _, file := range slices.Backward(order) {
		highest := 0
		for used := range g[file] {
			if storey[used] == 0 {
				back++
			}
			highest = max(highest, storey[used])
		}
		storey[file] = highest + 1
		storeys = max(storeys, highest+1)
	}
	return back, storeys
}
