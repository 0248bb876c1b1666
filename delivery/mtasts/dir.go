package mtasts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/listing"
	"github.com/nexthop-mail/nexthop/internal/smallfile"
)

// Dir is a Store in a directory, with a file for each policy. It survives restarts, and
// several processes may share it; what one of them stores the others see within ten
// seconds. It must not be copied.
//
// A file that is damaged, or was written by a newer version, is an ErrDamaged: until its
// policy is fetched again or the file is removed, mail to its domain waits. It is ignored
// once it is so old that no policy in it can be in force.
type Dir struct {
	// Path is the directory; required. It is created when it is needed, with access for
	// its owner only.
	Path string

	names  listing.Names
	looked looked
}

// The files of a Dir.
const (
	filePrefix  = "mta-sts."
	tempPrefix  = ".mta-sts-"
	fileSuffix  = ".json"
	fileVersion = 1
	mostFile    = 4 * mostBytes
)

// file is the content of a file.
type file struct {
	Version int `json:"version"`
	Entry
}

var errNoDir = errors.New("mtasts.Dir.Path: it is required")

// fileOf is the file of a domain. Names that are too long for a file are hashed.
func fileOf(domain string) string {
	name := domain
	if len(filePrefix)+len(name)+len(fileSuffix) > 200 || strings.ContainsAny(name, `/\:`) || name == "" {
		sum := sha256.Sum256([]byte(domain))
		name = "_" + hex.EncodeToString(sum[:])
	}
	return filePrefix + name + fileSuffix
}

func (d *Dir) path(domain string) string { return filepath.Join(d.Path, fileOf(domain)) }

// Load implements Store.
func (d *Dir) Load(_ context.Context, domain string) (Entry, error) {
	if d.Path == "" {
		return Entry{}, errNoDir
	}
	e, ok, changes := d.looked.get(domain)
	if ok {
		return e, nil
	}
	at, missing := d.names.Lacks(d.Path, fileOf(domain)) // most domains have no policy
	if missing {
		d.looked.put(domain, Entry{}, changes, at)
		return Entry{}, nil
	}
	at = time.Now()
	e, err := d.load(domain)
	if err == nil {
		d.looked.put(domain, e, changes, at)
	}
	return e, err
}

// changed forgets what is remembered of a domain whose file has changed.
func (d *Dir) changed(domain string) {
	d.names.Changed(fileOf(domain))
	d.looked.changed(domain)
}

// load reads the file of a domain.
func (d *Dir) load(domain string) (Entry, error) {
	return read(d.path(domain), domain)
}

// read returns the entry in a file, which is about the domain if that is known, or the zero
// Entry if there is no such file or it is too old.
func read(path, domain string) (Entry, error) {
	e, err := decode(path)
	if err == nil && e.Domain != "" && domain != "" && e.Domain != domain {
		err = damaged(path, "it is about another domain")
	}
	if errors.Is(err, ErrDamaged) {
		if info, lost := os.Stat(path); lost == nil && time.Since(info.ModTime()) > maxAge {
			return Entry{}, nil
		}
	}
	if err != nil {
		return Entry{}, err
	}
	return e, nil
}

// decode returns the entry in a file, or the zero Entry if there is no such file.
func decode(path string) (Entry, error) {
	text, err := smallfile.Read(path, mostFile)
	if err != nil || text == nil {
		return Entry{}, err
	}
	var stored file
	var version struct{ Version int }
	switch {
	case smallfile.Decode(text, &version) && version.Version > fileVersion:
		return Entry{}, damaged(path, "it was written by a newer version of this program")
	case !smallfile.Decode(text, &stored) || stored.Version != fileVersion || stored.Domain == "":
		return Entry{}, damaged(path, "it is damaged")
	}
	return stored.Entry, nil
}

// damaged returns the error of a file that has no entry of this version.
func damaged(path, why string) error {
	return fmt.Errorf("%w: the file %s: %s; it may be removed if its domain has no policy any more", ErrDamaged, path, why)
}

// Save implements Store. The new file is written under another name, and then replaces
// the old one.
func (d *Dir) Save(_ context.Context, e Entry) error {
	if d.Path == "" {
		return errNoDir
	}
	text, err := json.Marshal(file{fileVersion, e})
	if err != nil {
		return err
	}
	err = smallfile.Replace(d.path(e.Domain), tempPrefix, text, true)
	d.changed(e.Domain)
	if err != nil {
		return fmt.Errorf("storing the MTA-STS policy of %s: %w", e.Domain, err)
	}
	return nil
}

// Delete implements Store.
func (d *Dir) Delete(_ context.Context, domain string) error {
	if d.Path == "" {
		return errNoDir
	}
	err := os.Remove(d.path(domain))
	d.changed(domain)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// leftFor is how old a file is that was being written when the process died.
const leftFor = time.Hour

// removeLeft removes a file that was not written completely.
func (d *Dir) removeLeft(f fs.DirEntry) {
	if info, err := f.Info(); err == nil && time.Since(info.ModTime()) > leftFor {
		_ = os.Remove(filepath.Join(d.Path, f.Name())) // or another time
	}
}

// List implements Store.
func (d *Dir) List(ctx context.Context, after string, limit int) ([]Entry, error) {
	if d.Path == "" {
		return nil, errNoDir
	}
	files, err := os.ReadDir(d.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var domains []string
	var bad unreadable
	for _, f := range files {
		if strings.HasPrefix(f.Name(), tempPrefix) {
			d.removeLeft(f)
		}
		name, ours := strings.CutPrefix(strings.TrimSuffix(f.Name(), fileSuffix), filePrefix)
		if !ours || !strings.HasSuffix(f.Name(), fileSuffix) {
			continue
		}
		if strings.HasPrefix(name, "_") {
			e, err := read(filepath.Join(d.Path, f.Name()), "")
			bad.add(err)
			name = e.Domain
		}
		if name > after {
			domains = append(domains, name)
		}
	}
	slices.Sort(domains)
	var all []Entry
	for _, domain := range domains {
		if len(all) == limit {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e, err := d.load(domain)
		bad.add(err)
		if e.Domain != "" {
			all = append(all, e)
		}
	}
	return all, bad.err()
}

// unreadable are the files that a List could not read. After a return to an older version
// all can be too new, so only one of them is named: one that is not damaged, if there is one.
type unreadable struct {
	one   error
	files int
}

func (u *unreadable) add(err error) {
	if err == nil {
		return
	}
	if u.files++; u.one == nil || errors.Is(u.one, ErrDamaged) && !errors.Is(err, ErrDamaged) {
		u.one = err
	}
}

func (u *unreadable) err() error {
	if u.files > 1 {
		return fmt.Errorf("%w (and %d other files)", u.one, u.files-1)
	}
	return u.one
}
