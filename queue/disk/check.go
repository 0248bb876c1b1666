package disk

import (
	"context"
	"fmt"
	"io"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// Check reads everything in a spool's directory and returns what is damaged and which
// messages cannot be delivered because of it. It changes nothing. An incomplete end of the
// log after a power cut is not damage, because no call had reported it as stored.
//
// Errors: ErrLocked while the spool is open, ErrNoLock, ErrNewer, or the file system's.
func Check(dir string) ([]Problem, error) { return check(vfs.OS(dir)) }

func check(fs vfs.FS) ([]Problem, error) {
	s, lock, err := inspect(fs)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	defer s.closeFiles()
	c := &checker{s: s, problems: s.problems}
	c.older()
	numbers, _ := s.listed(context.Background(), 0, s.index.Len(), "") // which only its context ends early
	for _, number := range numbers {
		c.message(number)
	}
	return c.problems, nil
}

// inspect opens a spool for looking at it only.
func inspect(fs vfs.FS) (*Spool, io.Closer, error) {
	lock, err := takeLock(fs, false)
	if err != nil {
		return nil, nil, err
	}
	s := newSpool(fs, Options{})
	if err := s.recover(true); err != nil {
		s.closeFiles()
		_ = lock.Close()
		return nil, nil, err
	}
	return s, lock, nil
}

type checker struct {
	s        *Spool
	problems []Problem
}

// older looks at the segments that opening did not read, for damage in what no
// delivery needs any more or yet. What opening has named is not named again.
func (c *checker) older() {
	type place struct {
		file   string
		offset int64
	}
	named := map[place]bool{}
	for _, p := range c.problems {
		named[place{p.File, p.Offset}] = true
	}
	for _, g := range c.s.segments.list {
		if g == nil {
			continue
		}
		file := fileName(segmentPrefix, g.number)
		groups := g.groups(record.HeaderSize) // there are none if the file is missing
		for groups.Next() {                   // what they say was read already, or is needed by nobody
		}
		if err := groups.Err(); err != nil {
			c.add(Problem{File: file, Offset: -1, Err: err})
		}
		for _, gap := range groups.Gaps() {
			if err := damageOf(gap, int64(g.saved)); err != nil && !named[place{file, gap.From}] {
				c.add(Problem{File: file, Offset: gap.From, Err: err})
			}
		}
	}
}

func (c *checker) add(p Problem) { c.problems = append(c.problems, p) }

// message reads a message with all its deliveries and its content.
func (c *checker) message(number uint64) {
	id := formatID(number)
	if _, err := c.s.show(number); err != nil {
		c.add(Problem{File: c.fileOf(number), Offset: -1, Messages: []string{id}, Err: err})
		return
	}
	if err := c.content(number); err != nil {
		c.add(Problem{File: c.fileOf(number), Offset: -1, Messages: []string{id}, Err: err})
	}
}

func (c *checker) content(number uint64) error {
	slots := c.s.slots(number)
	r, err := (&content{c.s, number, int64(c.s.index.Get(slots[0]).Size)}).Open()
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	if err == nil && n != int64(c.s.index.Get(slots[0]).Size) {
		err = fmt.Errorf("%w: %d bytes of content", queue.ErrDamaged, n)
	}
	return err
}

// fileOf is the file of a message's record.
func (c *checker) fileOf(number uint64) string {
	e := c.s.index.Get(c.s.slots(number)[0])
	return fileName(segmentPrefix, c.s.segments.list[e.Home].number)
}
