package tlsrpt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// Reporter sends reports. Set the fields and leave them alone after the first use; then it
// is safe for concurrent use. It must not be copied. A Counts has one Reporter.
type Reporter struct {
	// Counts has the numbers to report; required.
	Counts *Counts

	// Submitter is the sender of reports; its Contact is required.
	Submitter Submitter

	// Resolver is asked for the records of domains; required.
	Resolver mx.Resolver

	// Store keeps the counts and the progress of reports. Default: a Memory of the
	// Reporter's own, so that a restart loses both.
	Store Store

	// Mail sends reports by mail. If nil, reports are sent over HTTPS only, and domains
	// that want them by mail get none.
	Mail Mailer

	// SignedLater says that the mail is signed with DKIM after Mail has accepted it,
	// for example by a smart host. Otherwise reports are sent by mail only if Mail
	// signs them, since receivers must ignore unsigned ones (RFC 8460 section 3).
	SignedLater bool

	// Poster sends reports over HTTPS. Default: one with the Resolver.
	Poster *Poster

	// Spread is the time after midnight, UTC, over which reports are sent; each has its
	// own time in it. Default: 4 h. Maximum: 20 h.
	Spread time.Duration

	// SaveEvery is how often the counts are saved, and so how much is lost if the
	// process is killed. Default: one minute.
	SaveEvery time.Duration

	// MaxPerTarget limits the reports of a day that are sent to one target: a domain of
	// mail addresses, or a host of URLs. It holds for all Reporters that share the Store
	// together. Without a limit, the owner of many domains could have another host
	// flooded. Default: 1,000.
	MaxPerTarget int

	// Trace has hooks. It may be nil.
	Trace *Trace

	once    sync.Once
	own     Memory
	poster  *Poster
	saving  sync.Mutex
	targets targets
}

// Trace has hooks for events that operators should know about. Each may be nil. They
// may be called concurrently, and must return soon.
type Trace struct {
	// Sent is called after a target was tried. err is nil if it has accepted the
	// report.
	Sent func(day Day, domain string, to Target, err error)

	// Done is called when this Reporter has finished with a report. Taken lists the
	// targets that accepted it.
	Done func(d Delivery)

	// NotAsked is called when a domain gets no report because of its record. If the
	// error is not a *RecordError, DNS did not answer for a day.
	NotAsked func(day Day, domain string, err error)

	// StoreFailed is called when the Store returns an error.
	StoreFailed func(err error)

	// LeftOut is called if the counts of a day had no room for all sessions.
	LeftOut func(day Day, sessions uint64)
}

func (t *Trace) sent(day Day, domain string, to Target, err error) {
	if t != nil && t.Sent != nil {
		t.Sent(day, domain, to, err)
	}
}

func (t *Trace) done(d Delivery) {
	if t != nil && t.Done != nil {
		t.Done(d.clone())
	}
}

func (t *Trace) notAsked(day Day, domain string, err error) {
	if t != nil && t.NotAsked != nil {
		t.NotAsked(day, domain, err)
	}
}

func (t *Trace) storeFailed(err error) {
	if t != nil && t.StoreFailed != nil {
		t.StoreFailed(err)
	}
}

func (t *Trace) leftOut(day Day, sessions uint64) {
	if t != nil && t.LeftOut != nil && sessions > 0 {
		t.LeftOut(day, sessions)
	}
}

// Times of reports.
const (
	defaultSpread    = 4 * time.Hour
	mostSpread       = 20 * time.Hour
	defaultSaveEvery = time.Minute
	// All processes have saved their counts of a day by this time after midnight.
	leastSettled = 10 * time.Minute
	// A report that cannot be delivered is tried again for so long (RFC 8460 section 5.5).
	keepTrying = 24 * time.Hour

	defaultPerTarget = 1000
)

// Validate reports all invalid fields at once, or nil if there are none.
func (r *Reporter) Validate() error {
	var problems []error
	wrong := func(field, format string, args ...any) {
		problems = append(problems, fmt.Errorf("tlsrpt.Reporter.%s: %w", field, fmt.Errorf(format, args...)))
	}
	if r.Counts == nil {
		wrong("Counts", "it is required")
	}
	if r.Resolver == nil {
		wrong("Resolver", "it is required")
	}
	if r.Submitter.Domain() == "" {
		wrong("Submitter", "the Contact %q is not a mail address with a domain", r.Submitter.Contact)
	}
	if d, ok := r.Store.(*Dir); ok && d.Path == "" {
		wrong("Store", "%w", errNoDir)
	}
	if r.Mail != nil && !r.Mail.Signs() && !r.SignedLater {
		wrong("Mail", "%w", errUnsigned)
	}
	if r.Spread < 0 || r.Spread > mostSpread {
		wrong("Spread", "%v is not from 0 to %v", r.Spread, mostSpread)
	}
	if r.SaveEvery < 0 {
		wrong("SaveEvery", "%v is negative", r.SaveEvery)
	}
	if r.MaxPerTarget < 0 {
		wrong("MaxPerTarget", "%d is negative", r.MaxPerTarget)
	}
	return errors.Join(problems...)
}

// init sets the defaults.
func (r *Reporter) init() {
	r.once.Do(func() {
		if r.poster = r.Poster; r.poster == nil {
			r.poster = &Poster{Resolver: r.Resolver}
		} else if r.poster.Resolver == nil {
			withResolver := *r.poster
			withResolver.Resolver = r.Resolver
			r.poster = &withResolver
		}
	})
}

func (r *Reporter) store() Store {
	if r.Store == nil {
		return &r.own
	}
	return r.Store
}

func (r *Reporter) saveEvery() time.Duration { return cmp.Or(r.SaveEvery, defaultSaveEvery) }

// settled is when the numbers of a day are all saved.
func (r *Reporter) settled(day Day) time.Time {
	return (day + 1).Start().Add(max(leastSettled, 2*r.saveEvery()))
}

// due returns when the report of a day and a domain is sent. It is the same for all
// Reporters of a submitter, and different for each domain and day.
func (r *Reporter) due(day Day, domain string) time.Time {
	h := fnv.New64a()
	fmt.Fprintf(h, "%v %s %s", day, domain, r.Submitter.address())
	sum := h.Sum64()
	// The lower bits alone are not mixed well.
	sum ^= sum >> 32
	sum *= 0x9e3779b97f4a7c15
	sum ^= sum >> 29
	return r.settled(day).Add(time.Duration(sum % uint64(cmp.Or(r.Spread, defaultSpread))))
}

// Save saves what was counted since the last call. Run calls it regularly.
func (r *Reporter) Save(ctx context.Context) error {
	r.init()
	r.saving.Lock() // the order in which it is saved is that in which it was counted
	defer r.saving.Unlock()
	var problems []error
	for day, tallies := range r.Counts.changes() {
		if err := r.store().Save(ctx, day, r.Counts.counter(), tallies); err != nil {
			r.Counts.unsaved(day)
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// Tallies returns the counts of a day, sorted by domain and policy: those that all
// processes with this Store have saved, and those of this Reporter's Counts up to now.
func (r *Reporter) Tallies(ctx context.Context, day Day) ([]Tally, error) {
	if err := r.Save(ctx); err != nil {
		return nil, err
	}
	merged, err := r.merged(ctx, day)
	if err != nil {
		return nil, err
	}
	return merged.Tallies(day), nil
}

// merged are all counts of a day.
func (r *Reporter) merged(ctx context.Context, day Day) (*Counts, error) {
	tallies, err := r.store().Load(ctx, day)
	if err != nil {
		return nil, err
	}
	merged := &Counts{MaxBytes: r.Counts.MaxBytes}
	merged.Merge(day, tallies)
	return merged, nil
}
