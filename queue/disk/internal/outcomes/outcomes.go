// Package outcomes remembers the final outcomes of recipients: in which files their records
// are, and the records that are not in a file yet.
//
// Records are in the order of their places in the log. They are first in the log alone, and
// wait in memory to be written to a file, since the log is deleted in time. Those that are
// too old or too many are forgotten: the oldest first, and by whole files.
//
// Nothing here reads or writes a file or a clock, or is safe for concurrent use.
package outcomes

import (
	"slices"
	"sort"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// parts is into how many files the outcomes are divided, by number and by time. A file gets
// no longer than mostBytes, unless by one record.
const (
	parts     = 16
	mostBytes = 8 << 20
	mostWait  = 16 << 20 // bytes of records that wait in memory
	pieceSize = 16 << 10 // bytes of a file that are read to find a record
)

// Log is all that is remembered.
type Log struct {
	keep    int64 // microseconds
	max     int
	files   []*File  // the oldest first
	waiting []Record // in the order of their places
	bytes   int64    // of those
	count   int
	next    uint64        // number of a file
	floor   record.Before // the last that was forgotten
	lost    bool          // some before the next that is loaded or added cannot be read
	dead    []uint64
}

// Record is one record that waits. Head has no place.
type Record struct {
	At    record.Place
	Time  int64 // microseconds
	Count int   // of outcomes
	Head  []byte
}

// File is one file. Pieces are where some of its records begin, so that others are found.
type File struct {
	Number, Salt uint64
	End          int64 // 0 if there is none yet

	before, last  record.Before // the last record before it, and its own
	count         int
	first, newest int64
	pieces        []piece
	left          bool // it takes no more
}

type piece struct {
	at  record.Place
	off int64
}

// New returns an empty Log that remembers for so many microseconds, and at most so many.
func New(keep int64, max int) *Log { return &Log{keep: keep, max: max, next: 1} }

// Keeps reports whether outcomes are to be added.
func (l *Log) Keeps() bool { return l.keep > 0 }

// Waiting returns how many bytes of records wait to be written.
func (l *Log) Waiting() int64 { return l.bytes }

// Add adds a record, at the place where it belongs, and forgets those that are too old at
// its time or too many.
func (l *Log) Add(r Record) {
	l.found(record.Before{At: record.Place{Segment: r.At.Segment}}) // the first that this life of the log has
	at := len(l.waiting)
	for at > 0 && r.At.Before(l.waiting[at-1].At) { // of the same batch, but saved later
		at--
	}
	l.waiting = slices.Insert(l.waiting, at, r)
	l.bytes += r.size()
	l.count += r.Count
	for l.forget(r.Time - l.keep) {
	}
}

// Replay adds a record that was found in the log, unless a file has it.
func (l *Log) Replay(r Record) {
	if n := len(l.files); n > 0 && !l.files[n-1].last.At.Before(r.At) {
		return
	}
	l.found(record.Before{At: r.At})
	l.waiting = append(l.waiting, r)
	l.bytes += r.size()
	l.count += r.Count
}

func (r *Record) size() int64 { return int64(len(r.Head)) + 48 }

// forget forgets the oldest, if it is too old or one of too many, but never the newest.
func (l *Log) forget(old int64) bool {
	if len(l.files) > 0 {
		f := l.files[0]
		if f.newest > old && l.count <= l.max {
			return l.forgetWaiting()
		}
		l.files = slices.Delete(l.files, 0, 1)
		l.count -= f.count
		l.floor = later(l.floor, f.last)
		l.dead = append(l.dead, f.Number)
		return true
	}
	if len(l.waiting) > 1 && (l.waiting[0].Time <= old || l.count > l.max) {
		l.drop()
		return true
	}
	return l.forgetWaiting()
}

// forgetWaiting forgets the oldest that waits if too much does.
func (l *Log) forgetWaiting() bool {
	if l.bytes <= mostWait || len(l.waiting) < 2 {
		return false
	}
	l.drop()
	return true
}

func (l *Log) drop() {
	r := &l.waiting[0]
	l.count -= r.Count
	l.bytes -= r.size()
	l.floor = later(l.floor, record.Before{At: r.At, Count: r.Count})
	*r = Record{}
	l.waiting = l.waiting[1:]
}

func later(a, b record.Before) record.Before {
	if a.At.Before(b.At) {
		return b
	}
	return a
}

// Move is for records that stand elsewhere in the log now.
func (l *Log) Move(to map[record.Place]record.Place) {
	for i := range l.waiting {
		if now, moved := to[l.waiting[i].At]; moved {
			l.waiting[i].At = now
		}
	}
}

// Dead returns the numbers of files that are not needed any more, once.
func (l *Log) Dead() []uint64 {
	list := l.dead
	l.dead = nil
	return list
}

// Next returns the file to which records are to be appended, and those before a place, as
// many as it takes. The file may be new. There are none if nothing waits.
func (l *Log) Next(before record.Place) (*File, []Record) {
	n := 0
	for n < len(l.waiting) && l.waiting[n].At.Before(before) {
		n++
	}
	if n == 0 {
		return nil, nil
	}
	f := l.open(l.waiting[0].Time)
	most, bytes, end := max(1, l.max/parts)-f.count, int64(0), f.End
	take := 0
	for take < n && (take == 0 || most >= l.waiting[take].Count && end+bytes < mostBytes) {
		most -= l.waiting[take].Count
		bytes += l.waiting[take].size()
		take++
	}
	return f, slices.Clone(l.waiting[:take])
}

// open is the last file, if it takes more, or a new one, which Saved adds.
func (l *Log) open(now int64) *File {
	before := l.floor
	if n := len(l.files); n > 0 {
		f := l.files[n-1]
		if !f.left && f.count < max(1, l.max/parts) && f.End < mostBytes && now-f.first < max(l.keep/parts, 1) {
			return f
		}
		before = later(before, f.last)
	}
	return &File{Number: l.next, before: before}
}

// Leave has nothing more go to a file, which cannot be written to.
func (l *Log) Leave(f *File) { f.left = true }

// Before is what the file begins with.
func (f *File) Before() record.Before { return f.before }

// Saved says that records that Next returned are in the file now, at these offsets, and
// that the file ends there.
func (l *Log) Saved(f *File, list []Record, offs []int64, end int64) {
	if n := len(l.files); n == 0 || l.files[n-1] != f {
		l.files = append(l.files, f)
		l.next = f.Number + 1
	}
	f.End = end
	for i := range list {
		r := &list[i]
		f.add(r.At, r.Time, r.Count, offs[i])
		if l.waiting[0].At != r.At { // it was forgotten meanwhile, and a newer one is there
			continue
		}
		l.bytes -= r.size()
		l.waiting[0] = Record{}
		l.waiting = l.waiting[1:]
	}
	l.recount()
}

// recount counts all outcomes.
func (l *Log) recount() {
	l.count = 0
	for _, f := range l.files {
		l.count += f.count
	}
	for i := range l.waiting {
		l.count += l.waiting[i].Count
	}
}

func (f *File) add(at record.Place, time int64, count int, off int64) {
	if f.count == 0 {
		f.first = time
	}
	f.newest = max(f.newest, time)
	f.last = record.Before{At: at, Count: count}
	f.count += count
	if n := len(f.pieces); n == 0 || off-f.pieces[n-1].off >= pieceSize {
		f.pieces = append(f.pieces, piece{at, off})
	}
}

// Load takes over a file as it was read, in the order of their numbers, unless there is no
// record in it. It reports whether it did.
func (l *Log) Load(f *File) bool {
	l.next = max(l.next, f.Number+1)
	if f.count == 0 {
		return false
	}
	if n := len(l.files); n == 0 || l.files[n-1].last.At.Before(f.before.At) {
		l.lost = true
	}
	l.found(f.before)
	l.files = append(l.files, f)
	l.count += f.count
	return true
}

// Lost says that a file that would be loaded next cannot be read, or is not there.
func (l *Log) Lost() { l.lost = true }

// found forgets what was lost, if anything was, up to something that was not.
func (l *Log) found(after record.Before) {
	if l.lost {
		l.lost, l.floor = false, later(l.floor, after)
	}
}

// LoadBefore takes over what the file begins with.
func (f *File) LoadBefore(b record.Before) { f.before = b }

// LoadRecord takes over a record of a file.
func (f *File) LoadRecord(at record.Place, time int64, count int, off int64) {
	f.add(at, time, count, off)
}

// Forgotten is the last record that was forgotten; zero if none was.
func (l *Log) Forgotten() record.Before { return l.floor }

// Part is a part of a file that has records after a place, and perhaps some before it.
type Part struct {
	Number, Salt uint64
	From, End    int64
}

// After returns where the records after a place are, or those at it, and before another:
// the parts of files, and those that wait, at most so many.
func (l *Log) After(at, before record.Place, most int) (parts []Part, waiting []Record) {
	for _, f := range l.files {
		if f.last.At.Before(at) {
			continue
		}
		i := sort.Search(len(f.pieces), func(i int) bool { return at.Before(f.pieces[i].at) })
		parts = append(parts, Part{f.Number, f.Salt, f.pieces[max(0, i-1)].off, f.End})
	}
	for i := range l.waiting {
		r := &l.waiting[i]
		if !r.At.Before(before) || len(waiting) >= most {
			break
		}
		if !r.At.Before(at) {
			waiting = append(waiting, *r)
		}
	}
	return parts, waiting
}
