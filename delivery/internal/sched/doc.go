// Package sched decides when an agent does what: what it claims from its queue,
// which deliveries begin, and which go back to the queue to wait there.
//
// It is a state machine. The caller tells a [Scheduler] what has happened by calling
// its methods, and passes the time to each: deliveries were claimed
// ([Scheduler.Claimed]), a route was found ([Scheduler.Routed]), an attempt taught
// something about its site ([Scheduler.Learned]) and ended ([Scheduler.Ended]), a
// delivery was settled ([Scheduler.Settled]). [Scheduler.Decide] fills in an [Output],
// a value that says what to do next. The package has no clock, no goroutine, no lock
// and no random numbers: the same calls give the same outputs.
//
// To a Scheduler a delivery is a number with a message, a destination, a tenant and a
// priority. A site is the name of the hosts that a route leads to.
//
// # Numbers
//
// N1. Every delivery that was claimed comes to exactly one end: it begins in one
// attempt that ends, it goes back to the queue, or the caller says that it is gone.
//
// N2. A delivery counts as held from its claim until it is settled. At most
// Settings.Ahead deliveries are held, plus those of one claim.
//
// # Limits
//
// L1. At most Settings.Connections attempts are in flight, and at most PerSite at one
// site. Settings.Site may set other limits for a site and put the site into groups: at
// most Connections of the group are in flight at all its sites together. Of limits that
// other agents share, this one uses at most the part that Settings.Share says.
//
// L2. At most as many attempts are in flight at a site as its window allows. The
// window begins at 2, grows with what the site takes, and halves if the site defers a
// message or ends the connection.
//
// L3. Attempts at a site begin no closer together than its rate allows, and its pace,
// which a site has after ten attempts in a row without success; at the sites of a group
// they begin no closer together than the group's rate allows. If a rate or the part of it
// changes, what it is now counts from the last attempt on. A site that defers a
// quarter of what it is offered and takes the rest gets a rate as well: first what it
// took between two deferrals, then what has gone well. The rate is forgotten if it
// improves nothing.
//
// L4. If no host of a site could be asked, the site is left alone for as long as the
// lesson says; if it refuses the login, for five minutes. Then one attempt is made. An
// attempt that began before the settings changed says nothing about the login.
//
// L5. Nothing else holds an attempt back: while there is room, no site waits that
// has mail and may be tried.
//
// L6. A quarter of the connections is kept for quick sites. A site is quick if its last
// attempt took less than five seconds and, if any are in flight there, one began or
// ended within the last five seconds. Other sites share the remaining connections in
// turn. In addition, sites that have not been tried yet get trials, the newest site
// first; the more trials are in flight, the rarer they become, and they use at most half
// of the connections that are kept.
//
// # Turns
//
// T1. The next attempt belongs to the tenant with the fewest attempts in flight. If
// several have the fewest, it belongs to the one that was served longest ago.
//
// T2. The attempt is made at the site where the tenant's mail has waited longest since
// the tenant was last served there. Each step of priority counts as PriorityStep of
// waiting.
//
// T3. At a site, the tenant with the fewest attempts in flight there comes first. If
// several have the fewest, the first is the one that was served there longest ago, or
// whose mail came there then. If this is not the tenant whose turn it is by T1, that
// tenant lends its turn. A tenant with nothing in flight lends its turn only to a
// tenant that has waited at the site since before it was itself served anywhere.
//
// A turn continues at its site for up to sixteen attempts, one after the other, unless a
// tenant with nothing in flight waits: another site may need a new connection.
//
// T4. However much mail others have: while a tenant has mail for a site that may be
// tried and nothing in flight, each other tenant begins at most one attempt before it by
// a turn of its own, and one by a lent turn at each site where it has waited since
// before the tenant was served.
//
// Proof: by T1 only tenants with nothing in flight that were served before this tenant
// have turns before it, and each has at most one, because afterwards it was served
// later. By T3 a lent turn goes to mail that has waited at its site since before the
// lender was served, and so since before the tenant was served; whatever mail remains
// or arrives there has waited less long from then on.
//
// T5. At a site, while a tenant has mail there and nothing in flight there, each other
// tenant begins at most one attempt there before it.
//
// Proof: a tenant that begins there either was served there before this tenant, or
// takes its own turn although this tenant comes first, which it does only if it was
// served before this tenant's mail came. In both cases it was served later from then on.
//
// T6. The mail of a tenant for a site begins in the order in which it became due. Each
// step of priority counts as if the mail had become due PriorityStep earlier.
//
// # Memory
//
// M1. A site holds what it can do in half a second, and at least sixteen deliveries.
// If a site holds three quarters of that, claims leave out its destinations. Mail that
// is claimed nevertheless goes back and its destination is parked: this agent alone
// leaves it in the queue until the site has room again.
//
// M2. A site with room gets mail of its parked destinations by a claim of its own.
// Tenants that already hold their part of the site's room are left out of this claim,
// in favour of other tenants whose mail the site has turned away.
//
// M3. Claims leave out a tenant that holds four times the free memory, so that no
// tenant can take all of it.
//
// M4. What M1 hides is not hidden from a tenant that holds fewer than sixteen
// deliveries: claims for such tenants include parked destinations, and a site has room
// for four deliveries of each tenant regardless of what it holds. These claims
// alternately leave out the tenants that have two deliveries at a site that has turned
// more away, and the mail for that site. As a result, due mail of a tenant that holds
// nothing is claimed by one of the six claims after the one in progress, and by one of
// six more for each 32 tenants in the same position.
//
// M5. Sites that are not quick hold at most half of the memory, and for one tenant at
// most four times what is free of that half. Beyond that, the untried site that has
// waited longest makes way for a new one. A site where nothing has ended for two
// seconds gives back what waits there if the memory is needed.
//
// M6. A group holds four deliveries for each attempt that it may have in flight, or what
// it may begin in half a second, whichever is less, and at least sixteen. Beyond that
// its sites have no more room, except for four deliveries of each tenant. Its sites with
// parked destinations get mail one after the other when the group has room again.
//
// # Back-off
//
// B1. Mail that is held for a site that is left alone goes back, and its destination is
// paused: all agents leave it in the queue until the site is tried again. If the route
// may differ by sender, each delivery waits by itself.
//
// B2. When a host of the site takes or refuses something, the settings change, or
// somebody flushes, these pauses are lifted.
//
// B3. A destination without a route is left alone in the same way.
//
// # Trouble
//
// O1. In trouble of our own, nothing begins and no route is asked for, except for a
// probe: one second after the trouble began, and then after twice as long each time, up
// to five seconds.
//
// O2. Mail whose attempt met the trouble keeps its place. It is not given back.
//
// O3. The first probe that works ends the trouble, and mail goes on at once.
//
// # Files
//
// A file uses only files listed before it, so that all can be read in this order.
//
//  1. values.go, the inputs and outputs of a Scheduler; settings.go, its limits;
//     window.go, how many attempts at a site, and for how long none; grant.go, how many
//     a second; heap.go.
//  2. state.go, everything that a Scheduler remembers.
//  3. room.go, how much may be held; share.go, the part of a limit that others leave;
//     lane.go, whose mail waits where; trouble.go, trouble of our own; group.go, which
//     sites have limits in common.
//  4. ready.go, which may be tried; refill.go, which are to get mail.
//  5. demand.go, what could be done with a share of a limit; shipment.go, which
//     deliveries go together; site.go, which sites are known; turn.go, whose attempt
//     begins.
//  6. park.go, which mail is kept back in the queue, and which no longer.
//  7. arrive.go, what happens to mail with a route; claim.go, what is claimed;
//     lesson.go, what an attempt has taught, and its end.
//  8. mail.go, what happens to deliveries; scheduler.go, the decision; why.go, answers
//     to those who ask where mail is.
package sched
