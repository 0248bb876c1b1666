package postgres

import (
	"time"

	"github.com/jackc/pgx/v5"
)

// Defaults of Options.
const (
	DefaultSchema    = "nexthop"
	DefaultTimeout   = 30 * time.Second
	DefaultKeepKeys  = 24 * time.Hour
	DefaultPollEvery = 2 * time.Second

	DefaultMaxOutcomes = 4_000_000
)

// Options say where a queue is and how it is used. The zero value is ready to use.
type Options struct {
	// Schema is the database schema with the queue's tables. Default: DefaultSchema.
	// Several queues may be in one database.
	Schema string

	// Timeout limits the time of a statement, including the wait for a connection, and
	// before that the time for which a call of Put or Open waits for others with which it
	// shares statements. Default: DefaultTimeout.
	Timeout time.Duration

	// KeepKeys is how long a message's key is remembered after the message has left.
	// Default: DefaultKeepKeys. If negative, keys are not remembered. All programs that
	// open a queue should use the same value.
	KeepKeys time.Duration

	// KeepOutcomes is for how long the outcome of a recipient is kept (queue.Outcomes).
	// Default: it is not kept, and Outcomes returns errors.ErrUnsupported. Outcomes that
	// were kept before stay in the database. All programs that open a queue should use the
	// same value: each keeps the outcomes of its own settlements, and forgets by its own
	// value.
	KeepOutcomes time.Duration

	// MaxOutcomes is the maximum number of outcomes that are kept, and a quarter more for a
	// minute. Each takes about 200 bytes. Default: DefaultMaxOutcomes. The oldest are
	// forgotten first.
	MaxOutcomes int

	// PollEvery is how often Wait returns while no notification can arrive, because
	// there is no connection to listen on: the server cannot be reached, or only
	// through a pooler such as PgBouncer, through which a handle does not listen.
	// Default: DefaultPollEvery.
	PollEvery time.Duration

	// Listen configures the connection that stays open to listen for notifications.
	// Default: like the pool's connections. If the pool goes through PgBouncer, a
	// direct connection makes wake-ups faster.
	Listen *pgx.ConnConfig

	// NoListen turns that connection off. Wait then returns every PollEvery.
	NoListen bool

	// QuietTx leaves out the notification that PutTx and PutSQL add to a transaction.
	// The notification takes a lock on the whole database cluster while the transaction
	// commits. A program with very many such transactions calls Queue.Wake after they
	// have committed, or leaves the mail to be found after PollEvery.
	QuietTx bool

	// SeparatePuts has each call of Put use a transaction of its own. Otherwise calls that
	// come while others are under way share transactions, which costs the server less.
	// Either way Put returns after the commit.
	SeparatePuts bool

	// Clock is the clock of the times that are passed to the queue. The difference to
	// the server's clock is measured, so that agents on machines with different clocks
	// agree. Default: time.Now.
	Clock func() time.Time
}

// mostOutcomes is how many outcomes are kept.
func (o *Options) mostOutcomes() int64 {
	if o.MaxOutcomes <= 0 {
		return DefaultMaxOutcomes
	}
	return int64(o.MaxOutcomes)
}

// withDefaults returns o with the defaults filled in.
func (o Options) withDefaults() Options {
	if o.Schema == "" {
		o.Schema = DefaultSchema
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.KeepKeys == 0 {
		o.KeepKeys = DefaultKeepKeys
	}
	if o.PollEvery <= 0 {
		o.PollEvery = DefaultPollEvery
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return o
}
