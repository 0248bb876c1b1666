package sched

// forget has the world know nothing of a site that the scheduler has forgotten. Only a site
// without mail may be, and none whose rate is to be kept.
func (w *world) forget() {
	if w.s.remember == maxSites {
		return
	}
	clear(w.forgotten)
	for key, t := range w.known {
		if w.s.sites[key] == t {
			continue
		}
		delete(w.known, key)
		w.forgotten[key] = true
		if w.bySite[key] > 0 {
			w.fail("%s is forgotten with %d attempts in flight", key, w.bySite[key])
		}
		if w.tooSoon(w.began[key], w.mayAt(key, w.siteLimits(key)).Rate) {
			w.fail("L3: %s is forgotten before its rate allows another attempt", key)
		}
		delete(w.began, key) // a share with a lower rate, later on, says nothing about that
		delete(w.closed, key)
		delete(w.alive, key)
		delete(w.failed, key)
		delete(w.refused, key)
		delete(w.said, key)
		for d, k := range t.kept {
			if k.until.After(w.lost[d]) {
				w.lost[d] = k.until
			}
		}
	}
	for d := range w.noRoute {
		if w.s.sites[noRouteKey(d)] == nil {
			delete(w.noRoute, d)
		}
	}
	w.forgetGroups()
	for t := w.s.known.head; t != nil; t = t.next {
		w.known[t.key] = t
	}
}

// forgetGroups has the world know nothing of a group that the scheduler has forgotten with
// the last of its sites, even if it knows a new one of that name already.
func (w *world) forgetGroups() {
	for _, name := range []string{"g", "h"} {
		if is := w.s.groups[name]; is != w.groups[name] {
			w.groups[name] = is
			if g, _ := w.groupLimits(name); !w.tooSoon(w.beganIn[name], w.mayIn(g).Rate) {
				delete(w.beganIn, name)
			}
		}
	}
}
