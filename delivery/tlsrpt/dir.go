package tlsrpt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Dir is a Store in a directory, with a subdirectory for each day. Several processes of
// one machine may share it. So may several machines, if the file system guarantees that
// only one of them can make a hard link with a given name. A file of counts is ignored
// if it is damaged or was written by a newer version.
type Dir struct {
	// Path is the directory; required. It is created when it is needed, with access for
	// its owner only.
	Path string
}

// The files of a Dir.
const (
	countsPrefix = "counts."
	reportPrefix = "report."
	fileSuffix   = ".json"
	fileVersion  = 1
	mostFile     = 1 << 30
)

var errNoDir = errors.New("tlsrpt.Dir.Path: it is required")

// countsFile is the content of a file of counts.
type countsFile struct {
	Version int     `json:"version"`
	Tallies []Tally `json:"tallies"`
}

// deliveryFile is the content of a file of a report.
type deliveryFile struct {
	Version int `json:"version"`
	Delivery
}

func (d *Dir) day(day Day) string { return filepath.Join(d.Path, day.String()) }

// Save implements Store. The new file is written under another name, and then replaces
// the old one.
func (d *Dir) Save(_ context.Context, day Day, counter string, tallies []Tally) error {
	return d.write(day, countsFile{fileVersion, tallies}, func(temporary string) error {
		return os.Rename(temporary, filepath.Join(d.day(day), countsPrefix+counter+fileSuffix))
	})
}

// write writes a file and has place put it where it belongs.
func (d *Dir) write(day Day, value any, place func(temporary string) error) error {
	if d.Path == "" {
		return errNoDir
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.day(day), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(d.day(day), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // no longer there if it was renamed
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("storing TLS reports: %w", err)
	}
	return place(f.Name())
}

// Load implements Store.
func (d *Dir) Load(ctx context.Context, day Day) ([]Tally, error) {
	if d.Path == "" {
		return nil, errNoDir
	}
	files, err := os.ReadDir(d.day(day))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []Tally
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), countsPrefix) || !strings.HasSuffix(f.Name(), fileSuffix) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var stored countsFile
		ok, err := read(filepath.Join(d.day(day), f.Name()), &stored)
		if err != nil {
			return nil, err
		}
		if ok && stored.Version == fileVersion {
			all = append(all, stored.Tallies...)
		}
	}
	return all, nil
}

// read reads a file; ok is whether it makes sense. A file that is not there does not.
func read(path string, value any) (ok bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostFile))
	if err != nil {
		return false, err
	}
	return json.Unmarshal(text, value) == nil, nil
}

// path returns the file of a revision of a Delivery. Names that are too long for a
// file, or could be those of other files, are hashed.
func (d *Dir) path(day Day, domain string, revision int) string {
	name := domain
	if len(name) > 200 || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		sum := sha256.Sum256([]byte(domain))
		name = "=" + hex.EncodeToString(sum[:])
	}
	return filepath.Join(d.day(day), fmt.Sprintf("%s%s.%d%s", reportPrefix, name, revision, fileSuffix))
}

// Update implements Store. Each revision is a file, which exists only when it is
// complete, and which only one caller can create.
func (d *Dir) Update(_ context.Context, next Delivery) (Delivery, bool, error) {
	if d.Path == "" {
		return Delivery{}, false, errNoDir
	}
	now, err := d.latest(next.Day, next.Domain)
	if err != nil || next.Revision != now.Revision+1 {
		return now, false, err
	}
	err = d.write(next.Day, deliveryFile{fileVersion, next}, func(temporary string) error {
		return os.Link(temporary, d.path(next.Day, next.Domain, next.Revision))
	})
	switch {
	case err == nil:
		return next, true, nil
	case errors.Is(err, fs.ErrExist):
		now, err = d.latest(next.Day, next.Domain)
	}
	return now, false, err
}

// latest is the Delivery that is stored. One that cannot be read has its revision alone,
// so that it is followed by the next. Revisions are there from the first on without a gap,
// so few files are looked at.
func (d *Dir) latest(day Day, domain string) (Delivery, error) {
	there := func(revision int) bool {
		_, err := os.Lstat(d.path(day, domain, revision))
		return !errors.Is(err, fs.ErrNotExist)
	}
	none := 1 // a revision that is not there
	for there(none) {
		none *= 2
	}
	revision := none/2 + sort.Search(none-none/2, func(i int) bool { return !there(none/2 + i + 1) })
	if none == 1 {
		return Delivery{Day: day, Domain: domain}, nil
	}
	var stored deliveryFile
	ok, err := read(d.path(day, domain, revision), &stored)
	if err != nil {
		return Delivery{}, err
	}
	if !ok || stored.Version != fileVersion || stored.Day != day || stored.Domain != domain || stored.Revision != revision {
		stored.Delivery = Delivery{Day: day, Domain: domain, Revision: revision}
	}
	return stored.Delivery, nil
}

// Forget implements Store.
func (d *Dir) Forget(_ context.Context, before Day) error {
	if d.Path == "" {
		return errNoDir
	}
	days, err := os.ReadDir(d.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var problems []error
	for _, entry := range days {
		if day, err := ParseDay(entry.Name()); err == nil && day < before {
			problems = append(problems, os.RemoveAll(d.day(day)))
		}
	}
	return errors.Join(problems...)
}
