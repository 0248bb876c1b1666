package postgres

import (
	"time"

	"github.com/jackc/pgx/v5"
)

// The values that zero stands for in Options.
const (
	DefaultSchema    = "nexthop"
	DefaultTimeout   = 30 * time.Second
	DefaultKeepKeys  = 24 * time.Hour
	DefaultPollEvery = 2 * time.Second
)

// Options say where a queue is and how it is used. The zero value is ready.
type Options struct {
	// Schema is the database schema with the queue's tables. Default: DefaultSchema.
	// Several queues may be in one database.
	Schema string

	// Timeout is how long the database may take for a statement, waiting for a
	// connection included. Default: DefaultTimeout.
	Timeout time.Duration

	// KeepKeys is for how long a message's key is remembered after it has left.
	// Default: DefaultKeepKeys. If negative, it is not remembered. All who open a
	// queue should give the same.
	KeepKeys time.Duration

	// PollEvery is how often Wait returns while no notification can come, because there is
	// no connection to listen on: the server cannot be reached, or only through a pooler
	// such as PgBouncer, by which a handle does not listen. Default: DefaultPollEvery.
	PollEvery time.Duration

	// Listen says how the server is reached by the one connection that stays open to
	// listen for notifications. Default: as the pool reaches it. Where the pool goes
	// through PgBouncer, a way around it makes wake-ups faster.
	Listen *pgx.ConnConfig

	// NoListen does without that connection. PollEvery is what is left.
	NoListen bool

	// QuietTx leaves out the notification that PutTx and PutSQL add to a transaction.
	// The notification takes a lock of the whole database cluster while the
	// transaction commits, so a program with very many of them calls Queue.Wake after
	// they have committed, or leaves the mail to be found by PollEvery.
	QuietTx bool

	// Clock is the clock by which the times are told that are given to the queue. The
	// difference between it and the server's is measured, so that agents on machines
	// whose clocks differ mean the same. Default: time.Now.
	Clock func() time.Time
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
