package delivery

import (
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/waiting"
	"github.com/nexthop-mail/nexthop/queue"
)

// sitedFor is for how long a destination is taken to go to the site that it went to.
const sitedFor = 10 * time.Minute

// keepSuspended is the outcome of a delivery that is suspended, nil for any other.
func (r *run) keepSuspended(p *part) *outcome {
	table := r.suspended.Table()
	if table == nil {
		return nil
	}
	at, d := r.agent.clock.Read(), p.delivery
	by := table.Mail(at.Now, d.Lease.Destination, d.Message.Tenant)
	if by == nil && p.asked.IsZero() {
		return nil
	}
	o := unchanged(p)
	if by == nil {
		if !table.Sites() {
			return nil
		}
		site := r.site(&p.route)
		if by = table.Site(at.Now, site, slices.Values(namesIn(site))); by == nil {
			return nil
		}
		sited := waiting.Sited{By: *by, Site: site, Until: at.Now.Add(sitedFor)}
		if dependsOnSender(&p.route) || !r.suspended.Add(d.Lease.Destination, sited) {
			o.settlement.NotBefore = at.Now.Add(sitedFor / 2)
			if until := by.Until; !until.IsZero() && until.Before(o.settlement.NotBefore) {
				o.settlement.NotBefore = until
			}
			if end := at.Ahead(r.deadline(d)); end.Before(o.settlement.NotBefore) {
				o.settlement.NotBefore = end
			}
		}
	}
	if !r.expiry(d).After(at.Wall) {
		o.expired = true
		return &o
	}
	if r.warnDue(d, at.Wall) {
		o.warn = true
	}
	o.settlement.Reason = suspendedBecause(by, p).String()
	return &o
}

func suspendedBecause(by *queue.Suspension, p *part) waiting.Reason {
	why := waiting.Reason{Code: waiting.Suspended, Since: by.Since, Text: by.Reason}
	if by.Kind == queue.OfSite && len(p.route.Hosts) > 0 {
		why.Host = p.route.Hosts[0].Name
	}
	return why
}
