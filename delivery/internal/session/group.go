package session

// EndOver ends sessions that are kept unused while there are more than the limits of
// their sites and groups allow, since those have been lowered.
func (p *Pool) EndOver() {
	ended := make(map[string]int) // by site, and by group
	for {
		s := p.idle.oldest(func(q *pass) bool { return q.gate.overBy(q, ended) })
		if s == nil {
			return
		}
		ended["site "+s.pass.site]++
		for _, name := range s.pass.groups {
			ended["group "+name]++
		}
		p.idle.end(s)
	}
}

// overBy reports whether there are more connections than a site or its groups allow, apart
// from those that are being ended.
func (g *Gate) overBy(p *pass, ended map[string]int) bool {
	l := g.limits()
	g.mu.Lock()
	defer g.mu.Unlock()
	at := l.at(p.site, p.host)
	if g.sites[p.site]-ended["site "+p.site] > at.PerSite {
		return true
	}
	for _, group := range at.Groups {
		if n := g.groups[group.Name]; n != nil && group.Connections > 0 && n.open-ended["group "+group.Name] > group.Connections {
			return true
		}
	}
	return false
}

// SizeOfGroup is how many connections there are to the hosts of a group, unused ones too.
func (g *Gate) SizeOfGroup(name string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := g.groups[name]; n != nil {
		return n.open
	}
	return 0
}
