package mx

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
)

// lookAgain is how often a file in use is looked at for changes, at most.
const lookAgain = 3 * time.Second

// watched is a file that is read again when it changes. There is no goroutine: callers
// that need the file check it, one at a time, while the others use the known content.
type watched[T any] struct {
	looking atomic.Bool
	asked   atomic.Bool // the next look reads the file, whatever it looks like
	state   atomic.Pointer[fileState[T]]
}

// fileState is what is known about a watched file.
type fileState[T any] struct {
	value  *T // nil where the file has never been of use
	text   []byte
	info   os.FileInfo
	read   time.Time // when text was read
	looked time.Time
	err    error // why the file is of no use now
}

// look is the file's value, read again if it may have changed and the last look was
// lookAgain ago. parse makes a value of its text. With a value the error is nil: a
// file that has become of no use leaves the old one in force. changed is called when
// the file was read, with what parse said.
func (w *watched[T]) look(path string, most int64, parse func(text []byte) (*T, error), changed func(*T, error)) (*T, error) {
	known := w.state.Load()
	now := time.Now()
	asked := w.asked.Load()
	if !asked && known != nil && age.Between(known.looked, now) < lookAgain && !now.Before(known.looked) {
		return known.value, known.unless()
	}
	if !w.looking.CompareAndSwap(false, true) {
		if known != nil {
			return known.value, known.unless()
		}
		// The first look is under way: look without it, once.
		fresh := reread(path, most, nil, now, false, parse)
		return fresh.value, fresh.unless()
	}
	defer w.looking.Store(false)
	w.asked.Store(false)
	fresh := reread(path, most, known, now, asked, parse)
	w.state.Store(fresh)
	switch {
	case fresh.err != nil && (known == nil || known.err == nil || known.err.Error() != fresh.err.Error()):
		changed(nil, fresh.err)
	case fresh.err == nil && (known == nil || fresh.value != known.value || known.err != nil):
		changed(fresh.value, nil)
	}
	return fresh.value, fresh.unless()
}

// unless is the error unless there is a value.
func (s *fileState[T]) unless() error {
	if s.value != nil {
		return nil
	}
	return s.err
}

// current returns the value without checking the file, or nil if there is none.
func (w *watched[T]) current() *T {
	if s := w.state.Load(); s != nil {
		return s.value
	}
	return nil
}

// reread returns the state of a file, given the known state. If asked is true, the file
// is read even if it seems unchanged.
func reread[T any](path string, most int64, known *fileState[T], now time.Time, asked bool, parse func([]byte) (*T, error)) *fileState[T] {
	fresh := &fileState[T]{looked: now}
	if known != nil {
		fresh.value, fresh.text, fresh.info, fresh.read, fresh.err = known.value, known.text, known.info, known.read, known.err
	}
	info, err := os.Stat(path)
	if err == nil && known != nil && !asked && known.settled(info) {
		return fresh
	}
	var text []byte
	if err == nil {
		text, err = readFile(path, info, most)
	}
	if err == nil && known != nil && known.err == nil && bytes.Equal(text, known.text) {
		fresh.info, fresh.read = info, now
		return fresh
	}
	var value *T
	if err == nil {
		value, err = parse(text)
	}
	fresh.err = err
	if err == nil {
		fresh.value, fresh.text, fresh.info, fresh.read = value, text, info, now
	}
	return fresh
}

// settled is whether a file with this info has been read, long enough after its last
// change that a later one would show.
func (s *fileState[T]) settled(info os.FileInfo) bool {
	return s.err == nil && s.info != nil && os.SameFile(s.info, info) && s.info.Size() == info.Size() &&
		s.info.ModTime().Equal(info.ModTime()) && s.read.Sub(info.ModTime()) > 2*time.Second
}

var (
	errNotAFile = errors.New("not a regular file")
)

// readFile is the text of a regular file that is not too long.
func readFile(path string, info os.FileInfo, most int64) ([]byte, error) {
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: path, Err: errNotAFile}
	}
	if info.Size() > most {
		return nil, &os.PathError{Op: "read", Path: path, Err: fmt.Errorf("%d octets are more than %d", info.Size(), most)}
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, most))
}
