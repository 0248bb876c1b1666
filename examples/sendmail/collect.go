//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

// collectAlways collects from the maildrop at intervals until ctx ends.
func (r *runner) collectAlways(ctx context.Context) {
	tick := time.NewTicker(time.Duration(r.config.collectEvery))
	defer tick.Stop()
	for {
		r.collect(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// stale is when a file that is being written was left.
const stale = 24 * time.Hour

// collect takes messages from the maildrop. If there is no room for a message now, it
// stays there; files that are not messages go to the directory of rejected files.
func (r *runner) collect(ctx context.Context) {
	select {
	case r.collecting <- struct{}{}: // one at a time
		defer func() { <-r.collecting }()
	case <-ctx.Done():
		return
	}
	dir, err := os.Open(r.config.maildrop())
	if err != nil {
		r.say("the maildrop: %v", err)
		return
	}
	defer dir.Close()
	full := make(map[int]bool) // users over their quota
	for ctx.Err() == nil {
		names, err := dir.Readdirnames(1000)
		for _, name := range names {
			if ctx.Err() != nil {
				return
			}
			r.collectFile(ctx, name, full)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				r.say("the maildrop: %v", err)
			}
			return
		}
	}
}

// collectFile takes one file.
func (r *runner) collectFile(ctx context.Context, name string, full map[int]bool) {
	path := filepath.Join(r.config.maildrop(), name)
	// A file of a user's may be anything: a link to what others may not read, or a pipe.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		r.reject(name, err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		r.say("the maildrop: %v", err)
		return
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !info.Mode().IsRegular() || stat.Nlink != 1:
		r.reject(name, errors.New("it is a link or not a regular file"))
		return
	case strings.HasPrefix(name, unfinished):
		if time.Since(info.ModTime()) > stale {
			_ = os.Remove(path)
		}
		return
	case full[int(stat.Uid)]:
		return
	case info.Size() > r.config.maxSize+2*maxEnvelope:
		r.reject(name, errTooLarge)
		return
	}
	in := bufio.NewReader(io.LimitReader(f, r.config.maxSize+2*maxEnvelope))
	s, err := readEnvelope(in)
	if err == nil {
		err = r.accept(ctx, int(stat.Uid), s, in)
	} else {
		err = dataError(err)
	}
	e, _ := errors.AsType[*cli.Error](err)
	switch {
	case err == nil:
		err = os.Remove(path) // else it is taken again, and is known by its key
		if err != nil {
			r.say("the maildrop: %v", err)
		}
	case e != nil && e.Code == cli.ExitData:
		r.reject(name, err)
	default:
		full[int(stat.Uid)] = errors.Is(err, errQuota)
		r.once(name, "the maildrop: a message of user %d stays there: %v", stat.Uid, err)
	}
}

// reject moves a file to a directory where an administrator can look at it. A user's
// directory cannot be moved by others: it stays, and is reported once.
func (r *runner) reject(name string, why error) {
	from, to := filepath.Join(r.config.maildrop(), name), filepath.Join(r.config.rejected(), fmt.Sprintf("%d-%s", time.Now().UnixNano(), name))
	moved := os.Rename(from, to) == nil
	if moved {
		delete(r.left, name)
	}
	r.once(name, "the maildrop: %q is rejected: %v", name, why)
}

// once says something of a file that is left in the maildrop, which is looked at again.
func (r *runner) once(name, format string, args ...any) {
	if r.left[name] {
		return
	}
	r.say(format, args...)
	if len(r.left) >= maxLeft {
		clear(r.left)
	}
	r.left[name] = true
}

// maxLeft is how many remaining files are remembered as reported.
const maxLeft = 1000
