package disk

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/outcomes"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// Options are the options of a spool. The zero value suits nearly all programs.
type Options struct {
	// SegmentSize is the size of a file of the log in bytes, at most MaxSegmentSize.
	// Default: DefaultSegmentSize. A smaller size counts as the least useful one: three
	// times the size of the file's beginning, and at least 16 KiB. The option may change
	// from one Open to the next.
	SegmentSize int64

	// LargeContent is the size in bytes from which a content gets a file of its
	// own, at most MaxLargeContent. Default: DefaultLargeContent.
	LargeContent int64

	// OpenSegments is how many files of the log are open at a time, at least
	// MinOpenSegments. Default: DefaultOpenSegments. In addition, the spool needs
	// descriptors for its directory, its lock and its reserve, for each content file that
	// is being read or written, and for a checkpoint that is being written.
	OpenSegments int

	// MaxMessages is the number of messages at which Put returns queue.ErrFull. Default:
	// no bound other than the device's.
	MaxMessages int

	// KeepKeys is for how long the key of a message is remembered after the message has
	// left, so that it is not put again. Default: DefaultKeepKeys. If negative, it is not
	// remembered.
	KeepKeys time.Duration

	// MaxKeys is the maximum number of such keys. Each takes 16 bytes of memory. Default:
	// DefaultMaxKeys. If negative, none are remembered. The oldest are forgotten first.
	MaxKeys int

	// KeepOutcomes is for how long the outcome of a recipient is kept (queue.Outcomes).
	// Default: it is not kept, and Outcomes returns errors.ErrUnsupported. Outcomes that
	// were kept before stay in the directory.
	KeepOutcomes time.Duration

	// MaxOutcomes is the maximum number of outcomes that are kept. Each takes about 200
	// bytes of the device. Default: DefaultMaxOutcomes. The oldest are forgotten first.
	MaxOutcomes int

	// Wait is how long Open waits if the spool is in use. Default: it does not wait.
	Wait time.Duration

	sector int64 // sectorSize if zero; tests make it small
}

// The defaults of Options.
const (
	DefaultSegmentSize  = 64 << 20
	DefaultLargeContent = 256 << 10
	DefaultOpenSegments = 32
	DefaultKeepKeys     = 24 * time.Hour
	DefaultMaxKeys      = 4_000_000
	DefaultMaxOutcomes  = 4_000_000
)

// Spool is a queue in a directory. It is safe for concurrent use by goroutines. No other
// process can open the directory at the same time.
type Spool struct {
	fs          vfs.FS
	lock        io.Closer
	files       *files
	segmentSize int64
	largeFrom   int64
	maxMessages int
	limits      limits
	sector      int64
	*pools
	byHand bool // maintenance runs when it is called, not by itself

	nextMessage atomic.Uint64 // its number
	failing     atomic.Bool   // failure is set
	line        line          // tickets to be written
	changes     queue.Changes // for Wait
	spare       reserve
	short       atomic.Bool   // the reserve is not whole
	given       atomic.Uint64 // how often room was given back
	capacity    int64         // of the device, zero if that is not known
	limit       int64         // how long the current segment gets

	calls   atomic.Int64  // under way
	closing atomic.Bool   // no further call is let in
	idle    chan struct{} // has an element when a call has ended since then

	keysFile   sync.Mutex // of who writes the files of keys
	keeping    sync.Mutex // of who writes the files of outcomes
	suspending sync.Mutex // held to write the suspensions; guards suspendedFile
	claims     sync.Mutex // one claim at a time; taken before mu
	picks      []pick     // room for those of the next claim; guarded by claims
	flushing   sync.Mutex // held while a flush gets in line, and to keep any from it; taken before mu
	mu         lock       // never held while reading or writing a file
	closed     bool
	failure    error
	index      *index.Index
	segments   segments
	current    *segment // where the log goes on; nil until something is written

	nextSegment    uint64
	nextCheckpoint uint64
	lastToken      uint64
	keys           keyTable
	outcomes       *outcomes.Log
	outcomesFrom   int64                   // so many bytes of outcomes wait before they are written to a file
	marking        map[index.Slot]*marking // deliveries that Mark is at
	reserved       turns                   // deliveries that a call is changing
	freed          chan struct{}           // closed when keys lose an element
	awaited        bool                    // a caller waits for that
	deadContents   []uint64                // files to delete once the log is saved
	entering       int                     // messages on their way in, for MaxMessages
	flushes        []*flush                // in line, or not in the index as a whole, in the order of the log
	flushed        uint64                  // how many there were
	passing        map[string]int          // calls of Flush and Postpone that are being written, by destination

	buffer           []byte
	unsaved          bool
	kept             []*ticket // in the index and not saved
	torn             bool      // there was no room to save them
	tornBy           error     // what the device said then
	mends            uint64    // how often they were written again
	logBytes         int64     // of all segments in use
	saving           bool
	saver            *time.Timer
	rollNow          bool         // the next write begins a segment
	spoiled          bool         // it must: the file of one that failed may come back, and be taken for the newest
	applied          record.Place // the index has everything before it
	checkpoint       record.Place // and the newest checkpoint everything before this
	checkpoints      []uint64     // whose files are there; while only one takes any
	checkpointSize   int64
	blocked          obstacle
	ends             uint64    // records that became useless
	futile           uint64    // ends, when that last gave no room
	sinceCheckpoint  int64     // bytes written to the log, and what its records cost to replay
	sinceMaintenance int64     // bytes written, and those that became useless
	tail             *tail     // not saved yet, because there was no room
	problems         []Problem // found by recover
	hidden           bool      // some of what recover had to read is lost
	holdEnds         holdEnds
	suspended        queue.SuspensionSet
	suspendedFile    uint64             // the number of its file, zero if there is none
	leaving          map[uint64]leftKey // of messages some of whose deliveries have ended; while opening
	ghosts           []*segment         // retired ones of which a checkpoint speaks; while opening

	mergeDue    bool          // there are many small segments
	maintenance chan struct{} // has an element while it is running
	maintaining bool
	stop        context.CancelFunc // ends maintenance
	stopped     context.Context
	background  sync.WaitGroup
}

// All that Spool can do.
var (
	_ queue.Queue     = (*Spool)(nil)
	_ queue.Lister    = (*Spool)(nil)
	_ queue.Holder    = (*Spool)(nil)
	_ queue.Dropper   = (*Spool)(nil)
	_ queue.Flusher   = (*Spool)(nil)
	_ queue.Postponer = (*Spool)(nil)
	_ queue.Surveyor  = (*Spool)(nil)
	_ queue.Waiter    = (*Spool)(nil)

	_ queue.TermHolder = (*Spool)(nil)
	_ queue.Suspender  = (*Spool)(nil)
	_ queue.Taker      = (*Spool)(nil)

	_ queue.KeyCounter = (*Spool)(nil)
	_ io.Closer        = (*Spool)(nil)

	_ queue.OutcomeKeeper = (*Spool)(nil)
)

// Open opens the spool in a directory. If the directory does not exist, it is made, with
// its parents. If the spool is in use, Open waits for up to Options.Wait. It reads the
// newest checkpoint and everything written after it. Damage does not prevent opening:
// calls about lost data return queue.ErrDamaged, and Check lists it. The caller must call
// Close.
//
// Errors: ErrLocked, ErrNoLock, ErrNewer, that of an option out of bounds, or the file
// system's.
func Open(dir string, o Options) (*Spool, error) { return openIn(vfs.OSTree(), dir, o) }

func openIn(tree vfs.Tree, dir string, o Options) (*Spool, error) {
	if err := vfs.MakeDir(tree, filepath.Clean(dir)); err != nil {
		return nil, err
	}
	s, err := open(vfs.OS(dir), o)
	if err != nil {
		return nil, &openError{dir, err}
	}
	return s, nil
}

func open(fs vfs.FS, o Options) (*Spool, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	lock, err := awaitLock(fs, o.Wait)
	if err != nil {
		return nil, err
	}
	s := newSpool(fs, o)
	s.lock = lock
	if err := s.recover(false); err != nil {
		s.closeFiles()
		_ = lock.Close()
		return nil, err
	}
	return s, nil
}

func newSpool(fs vfs.FS, o Options) *Spool {
	s := &Spool{
		fs:             fs,
		segmentSize:    o.SegmentSize,
		largeFrom:      o.LargeContent,
		maxMessages:    o.MaxMessages,
		limits:         defaultLimits(),
		sector:         o.sector,
		index:          index.New(),
		pools:          new(pools),
		segments:       segments{byNumber: map[uint64]*segment{}, most: maxSegments},
		keys:           newKeyTable(&o),
		outcomes:       newOutcomes(&o),
		marking:        map[index.Slot]*marking{},
		reserved:       turns{},
		passing:        map[string]int{},
		leaving:        map[uint64]leftKey{},
		freed:          make(chan struct{}),
		idle:           make(chan struct{}, 1),
		maintenance:    make(chan struct{}, 1),
		ends:           1, // in an earlier life, perhaps
		nextSegment:    1,
		nextCheckpoint: 1,
	}
	if o.OpenSegments == 0 {
		o.OpenSegments = DefaultOpenSegments
	}
	s.files = newFiles(fs, o.OpenSegments)
	s.nextMessage.Store(1)
	if s.sector == 0 {
		s.sector = sectorSize
	}
	if s.segmentSize == 0 {
		s.segmentSize = DefaultSegmentSize
	}
	s.segmentSize = max(s.segmentSize, s.leastSegment(0))
	if s.largeFrom == 0 {
		s.largeFrom = DefaultLargeContent
	}
	var token [8]byte
	_, _ = rand.Read(token[:]) // so that no token comes twice across a restart
	s.lastToken = binary.LittleEndian.Uint64(token[:])
	s.stopped, s.stop = context.WithCancel(context.Background())
	return s
}

// begin lets a call in, unless it is over before it begins; end lets it out.
func (s *Spool) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.calls.Add(1)
	if s.closing.Load() {
		s.end()
		return queue.ErrClosed
	}
	if s.failing.Load() {
		s.end()
		return s.failed()
	}
	return nil
}

func (s *Spool) end() {
	if s.calls.Add(-1) > 0 || !s.closing.Load() {
		return
	}
	select {
	case s.idle <- struct{}{}:
	default: // Close has not looked yet
	}
}

// Close waits for the calls under way, saves everything and unlocks the directory. It
// returns the error of saving. If that fails, only what a power cut at this moment would
// lose is lost.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.closing.Store(true)
	if s.saver != nil && s.saver.Stop() {
		s.saving = false
		s.background.Done()
	}
	s.mu.Unlock()
	s.changes.Add() // for those who wait
	s.stop()
	for s.calls.Load() > 0 {
		<-s.idle
	}
	s.background.Wait()
	err := s.save()
	if err == nil {
		err = s.lastMaintenance()
	}
	if err == nil {
		s.markSaved()
	}
	s.closeFiles()
	return errors.Join(err, s.lock.Close())
}

func (s *Spool) closeFiles() {
	if s.spare.file != nil {
		_ = s.spare.file.Close()
	}
	for _, g := range s.segments.list {
		if g != nil && g.file != nil {
			_ = g.file.Close()
		}
	}
}

// Wait returns when something has changed since a claim.
func (s *Spool) Wait(ctx context.Context, seen uint64) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	s.end() // Close does not wait for it
	if err := s.changes.Wait(ctx, seen); err != nil {
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	s.end()
	return nil
}

// notify wakes those who wait for a key that another call has reserved.
// The lock is held.
func (s *Spool) notify() {
	if s.awaited {
		close(s.freed)
		s.freed, s.awaited = make(chan struct{}), false
	}
}
