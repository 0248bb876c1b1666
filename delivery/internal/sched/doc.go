// Package sched decides what an agent does when: what it claims from its queue,
// which deliveries begin, and which go back to wait there.
//
// It is a state machine. What happens is told to a [Scheduler] by its methods, each
// with the time: deliveries were claimed ([Scheduler.Claimed]), a route was found
// ([Scheduler.Routed]), an attempt taught something ([Scheduler.Learned]) and ended
// ([Scheduler.Ended]), a delivery was settled ([Scheduler.Settled]). What is to be
// done about it is a value, an [Output], that [Scheduler.Decide] fills in. There is
// no clock in here, no goroutine, no lock and nothing random: the same calls give
// the same outputs.
//
// A delivery is a number to it, with a message, a destination, a tenant and a
// priority. A site is a name for the hosts that a route leads to.
//
// # Numbers
//
// N1. Every delivery that was claimed comes to exactly one end: it begins in one
// attempt that ends, or it goes back, or the caller says that it is gone.
//
// N2. It counts as held from the claim until it is settled. No more are held than
// Settings.Ahead, but for those of one claim.
//
// # Limits
//
// L1. No more attempts are in flight than Settings.Connections, and than PerSite at one
// site. Settings.Site may say otherwise of a site, and put it into groups: no more are in
// flight at the sites of a group than its Connections.
//
// L2. No more are in flight at a site than its window: it begins at 2, grows with
// what the site takes, and halves when the site says "later" to a message or hangs
// up.
//
// L3. Attempts at a site begin no closer together than its rate allows, nor than the
// site's pace, which it has after ten attempts in a row that nothing came of; and at the
// sites of a group no closer than the group's rate allows. A site that defers a quarter of
// what it is offered and takes the rest has a rate, too: what it took between two
// deferrals, and then what has gone well. That is forgotten if it makes nothing better.
//
// L4. A site of which no host could be asked is left alone for as long as the
// lesson says, a site that refuses the login for five minutes. Then one attempt is
// made. An attempt that began before the settings changed says nothing of the login.
//
// L5. Nothing else holds an attempt back: while there is room, no site waits that
// has mail and may be tried.
//
// L6. A quarter of the connections is kept for sites that are quick: whose last
// attempt took less than five seconds, and of whose attempts in flight one began or
// ended not longer ago than that. The others share the rest in turn. Beyond that a
// site of which nothing is known is given a trial, the newest first, the more rarely
// the more trials are in flight, and up to half of what is kept.
//
// # Turns
//
// T1. The next attempt is the tenant's that has the fewest in flight, and of several
// the one's that was served longest ago.
//
// T2. It is made at the site that the tenant's mail has waited for longest since the
// tenant was served there, where each step of priority counts as PriorityStep of
// waiting.
//
// T3. At a site the tenant comes first that has the fewest in flight there, and of
// several the one that was served there longest ago, or whose mail came there then. If
// the tenant whose turn it is is not that one, it lends its turn; but one with nothing
// in flight lends it only to a tenant that has waited there since before it was itself
// served anywhere.
//
// A turn goes on at its site for up to sixteen attempts, one after the other, unless a
// tenant with nothing in flight waits: to change the site may take a new connection.
//
// T4. However much others have: while a tenant has mail for a site that may be tried
// and nothing in flight, each other tenant begins at most one attempt before it by a
// turn of its own, and one by a lent turn at each site where it has waited since
// before the tenant was served.
//
// For only tenants with nothing in flight that were served before it have their turns
// before it (T1), and each of them at most one: then it has been served later. By T3 a
// lent turn goes to mail that had waited at its site since before the lender was
// served, so since before the tenant was; and what is left there, or comes, has waited
// less long from then on.
//
// T5. At a site, while a tenant has mail there and nothing in flight there, each other
// tenant begins at most one attempt there before it.
//
// For whoever begins there was served there before it, or takes its own turn although
// the tenant comes first, which it only does if it was served before the tenant's mail
// came. In both cases it is served later than that from then on.
//
// T6. What a tenant has for a site begins in the order in which it became due,
// where each step of priority counts as PriorityStep more.
//
// # Memory
//
// M1. A site holds what it can do in half a second, and sixteen deliveries at least.
// The destinations of one that holds three quarters of that are left out of claims. What is
// claimed nevertheless goes back, and its destination is parked: the agent alone
// leaves it in the queue, until the site has room again.
//
// M2. A site with room is given mail of its parked destinations by a claim of its
// own, in which tenants that hold their part of what the site may hold make way for
// the others that it has turned away.
//
// M3. A tenant that holds four times what is left of the memory is left out of
// claims, and so none can take it all.
//
// M4. What M1 hides is not hidden of a tenant that holds less than sixteen deliveries:
// claims without the others pass over what is parked, and a site has room for four of
// each tenant whatever it holds. Such claims leave out by turns the tenants that have
// two deliveries at a site that has turned more away, and the mail for that site. So
// due mail of a tenant that holds nothing is claimed by one of the next six claims
// after the one under way, and one in six more for each 32 tenants of which the same is true.
//
// M5. Sites that are not quick hold half of the memory at most, of a tenant no more
// than four times what is left of that. Beyond that the site of which nothing is known
// and that has waited longest makes way for a new one. A site where nothing has ended for two seconds gives back most of what waits
// there when the memory is wanted.
//
// M6. A group holds four deliveries for each attempt that it may have in flight, and what
// it may begin in half a second, whichever is less, but sixteen at least. Beyond that
// its sites have no more room, but for four of each tenant, and those with parked
// destinations are given mail one after the other as there is room again.
//
// # Back-off
//
// B1. What is held for a site that is left alone goes back, and its destination is
// paused: all agents leave it in the queue, until the site is to be tried. Where the
// route may differ by sender each delivery waits by itself.
//
// B2. When a host of the site takes or refuses something, when the settings change or
// somebody flushes, all of that is lifted.
//
// B3. A destination without a route is left alone in the same way.
//
// # Trouble
//
// O1. In trouble of our own nothing begins and no route is asked for but a probe, a
// second after the trouble began, and then after twice the time up to five seconds.
//
// O2. What met the trouble stays as it was. It is not given back.
//
// O3. The first probe that works ends the trouble, and mail goes on at once.
//
// # Files
//
// A file uses only files that stand before it here, so that all can be read in this
// order.
//
//  1. values.go, what a Scheduler is told and what it says; settings.go, its limits;
//     window.go, how many attempts at a site, and how long none; grant.go, how many a
//     second; heap.go.
//  2. state.go, all that it remembers.
//  3. room.go, how much may be held; share.go, what others leave of a limit; lane.go,
//     whose mail waits where; trouble.go, trouble of our own.
//  4. group.go, which sites have limits in common; ready.go, which may be tried;
//     refill.go, which are to be given mail.
//  5. demand.go, what could be done with a share of a limit; shipment.go, what goes
//     together; site.go, which sites are known; turn.go, whose attempt begins.
//  6. park.go, what is kept back in the queue, and what no longer.
//  7. arrive.go, what becomes of mail with a route; claim.go, what is claimed;
//     lesson.go, what an attempt has taught, and its end.
//  8. mail.go, what happens to deliveries; scheduler.go, the decision; why.go, what is
//     told to those who ask.
package sched
