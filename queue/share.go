package queue

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Sharer is a queue whose claimers can have limits in common (rules W4 and W5): a site
// that takes 20 connections takes 20 from all of them together. Such a queue answers
// ClaimOptions.Limits as well, so that sharing takes no calls of its own while claims
// are made anyway.
type Sharer interface {
	// ShareLimits answers each request with a share, in order. Errors: ErrClosed.
	ShareLimits(ctx context.Context, now time.Time, list ...LimitRequest) ([]LimitShare, error)
}

const (
	// ShareLength is how long a share lasts that is not renewed (rule W4). Its claimer
	// begins nothing after that.
	ShareLength = 20 * time.Second

	// ShareHold is how long a share is kept for a claimer that does not renew it. The time
	// between the two is for what was begun before the share ended.
	ShareHold = 30 * time.Second

	// ShareTurn is how long the same claimers have what cannot be divided.
	ShareTurn = 30 * time.Second
)

// LimitRequest is a claimer's request for its share of one limit.
type LimitRequest struct {
	// Limit is the name of the limit, the same for all claimers.
	Limit string

	// Claimer names who asks, the same in each request.
	Claimer string

	// Connections and Rate are the limit: how many connections all claimers may have open
	// together, and how many messages a second they may offer. Zero means no limit.
	Connections int
	Rate        float64

	// Want is how many connections this claimer could use now. If zero, it needs no share.
	Want int

	// Have and HaveRate are what it goes by until this request is answered: its last share
	// if that has not ended, and what it has open beyond that.
	Have     int
	HaveRate float64
}

// LimitShare is a claimer's share of one limit.
type LimitShare struct {
	// Connections is how many connections the claimer may have open. It opens no other
	// while it has as many or more. If the limit has no Connections, it has no meaning.
	Connections int

	// Rate is how many messages a second it may offer. If the limit has a Rate and this is
	// zero, it may offer none.
	Rate float64

	// Until is when the share ends. If it is zero, the queue could not answer just now, and
	// the claimer's last share stands.
	Until time.Time
}

// ShareLimits asks q for shares of limits. It returns errors.ErrUnsupported if q is not a
// Sharer.
func ShareLimits(ctx context.Context, q Queue, now time.Time, list ...LimitRequest) ([]LimitShare, error) {
	if s, ok := As[Sharer](q); ok {
		return s.ShareLimits(ctx, now, list...)
	}
	return nil, unsupported("share limits")
}

// Shares is a table of shares, for implementations of Sharer that keep it in memory. The
// zero value is empty. It is not safe for concurrent use.
type Shares struct {
	limits map[string]map[string]*sharer // by limit and claimer
}

// sharer is what a claimer counts for at a limit.
type sharer struct {
	claimer     string
	want        int
	connections int
	rate        float64
	until       time.Time
}

// Answer answers requests at a time.
func (s *Shares) Answer(now time.Time, list []LimitRequest) []LimitShare {
	answers := make([]LimitShare, len(list))
	for i := range list {
		answers[i] = s.answer(now, &list[i])
	}
	return answers
}

// answer answers one request.
func (s *Shares) answer(now time.Time, r *LimitRequest) LimitShare {
	all := s.limits[r.Limit]
	var others []*sharer
	free, freeRate := r.Connections, r.Rate
	for name, o := range all {
		switch {
		case !o.until.After(now):
			delete(all, name)
		case name != r.Claimer:
			free -= o.connections
			freeRate -= o.rate
			if o.want > 0 {
				others = append(others, o)
			}
		}
	}
	answer := LimitShare{Until: now.Add(ShareLength)}
	if r.Want > 0 {
		self := &sharer{claimer: r.Claimer, want: r.Want}
		if r.Connections > 0 {
			answer.Connections = max(min(part(now, r.Connections, self, append(others, self)), free), 0)
		}
		if rate := min(r.Rate/float64(len(others)+1), freeRate); rate > r.Rate/1e6 {
			answer.Rate = rate
		}
	}
	if all == nil {
		all = make(map[string]*sharer)
		if s.limits == nil {
			s.limits = make(map[string]map[string]*sharer)
		}
		s.limits[r.Limit] = all
	}
	counts := &sharer{
		claimer: r.Claimer, want: r.Want, until: now.Add(ShareHold),
		connections: max(answer.Connections, r.Have), rate: max(answer.Rate, r.HaveRate),
	}
	if all[r.Claimer] = counts; counts.want == 0 && counts.connections == 0 && counts.rate == 0 {
		delete(all, r.Claimer)
	}
	if len(all) == 0 {
		delete(s.limits, r.Limit)
	}
	return answer
}

// part is how many connections of a limit are a claimer's: as many as it wants, or an equal
// part of what is left by those that want less. What cannot be divided goes to one after
// the other.
func part(now time.Time, limit int, self *sharer, all []*sharer) int {
	slices.SortFunc(all, func(a, b *sharer) int { return cmp.Or(cmp.Compare(a.want, b.want), cmp.Compare(a.claimer, b.claimer)) })
	for i, o := range all {
		n := len(all) - i
		if o.want > limit/n {
			rest := all[i:]
			slices.SortFunc(rest, func(a, b *sharer) int { return cmp.Compare(a.claimer, b.claimer) })
			at := slices.Index(rest, self)
			turn := int(now.UnixMicro()/ShareTurn.Microseconds()) % n
			if at < 0 {
				return self.want
			}
			if (at+turn)%n < limit%n {
				return limit/n + 1
			}
			return limit / n
		}
		limit -= o.want
		if o == self {
			return o.want
		}
	}
	return self.want
}
