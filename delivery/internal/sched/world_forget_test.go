package sched

// forget has the world know nothing of a site that the scheduler has forgotten, but when the
// last attempt there began. Only a site without mail may be.
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
	for t := w.s.known.head; t != nil; t = t.next {
		w.known[t.key] = t
	}
}
