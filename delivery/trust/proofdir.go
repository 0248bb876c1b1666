package trust

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
	"strings"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
	"github.com/nexthop-mail/nexthop/internal/listing"
	"github.com/nexthop-mail/nexthop/internal/smallfile"
)

// ProofDir is a ProofStore in a directory, with a file for each proof. It may be the
// directory of a mtasts.Dir. It survives restarts, and several processes may share it;
// what one of them stores the others see within ten seconds. It must not be copied. A
// file that is damaged, or was written by a newer version, still is a proof, since its
// name says of what.
type ProofDir struct {
	// Path is the directory; required. It is created when it is needed, with access for
	// its owner only.
	Path string

	names   listing.Names
	mu      sync.Mutex
	seen    map[ProofKey]seenProof
	changes int // by this process
}

// seenProof is the recent content of a file.
type seenProof struct {
	proof Proof
	at    time.Time
}

// The files of a ProofDir.
const (
	proofPrefix  = "proof."
	proofTemp    = ".proof-"
	proofSuffix  = ".json"
	proofVersion = 1
	mostProof    = 16 << 10

	mostSeen = 8192
	// leftFor is how old a file is that was being written when its process died.
	leftFor = time.Hour
)

// proofFile is the content of a file.
type proofFile struct {
	Version int `json:"version"`
	Proof
}

var errNoProofDir = errors.New("trust.ProofDir.Path: it is required")

// proofName is the file of a proof. Its name is a hash: names of domains and hosts can be
// of any length.
func proofName(of ProofKey) string {
	b := make([]byte, 0, 256)
	b = append(append(append(append(append(b, of.Domain...), '\n'), of.Host...), '\n'), of.By...)
	sum := sha256.Sum256(b)
	return string(append(hex.AppendEncode(append(b[:0], proofPrefix...), sum[:]), proofSuffix...))
}

func (d *ProofDir) path(of ProofKey) string { return filepath.Join(d.Path, proofName(of)) }

// Load implements ProofStore.
func (d *ProofDir) Load(_ context.Context, of ProofKey) (Proof, error) {
	if d.Path == "" {
		return Proof{}, errNoProofDir
	}
	d.mu.Lock()
	s, ok := d.seen[of]
	changes := d.changes
	d.mu.Unlock()
	if ok && age.Since(s.at) < listing.Every {
		return s.proof, nil
	}
	var p Proof
	name := proofName(of)
	at, missing := d.names.Lacks(d.Path, name) // most domains have no proofs
	if !missing {
		var err error
		at = time.Now()
		if p, err = readProof(filepath.Join(d.Path, name)); err != nil {
			return Proof{}, err
		}
		if p.ProofKey != of && !p.At.IsZero() {
			p = Proof{ProofKey: of, At: p.At}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if changes == d.changes {
		if d.seen == nil || len(d.seen) >= mostSeen {
			d.seen = make(map[ProofKey]seenProof)
		}
		d.seen[of] = seenProof{p, at}
	}
	return p, nil
}

// changed forgets the remembered content of a proof that has changed.
func (d *ProofDir) changed(of ProofKey) {
	d.names.Changed(proofName(of))
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.seen, of)
	d.changes++
}

// readProof returns the proof in a file, or the zero Proof if there is no such file. If it
// is invalid, only the time is known.
func readProof(path string) (Proof, error) {
	text, err := smallfile.Read(path, mostProof)
	if err != nil || text == nil {
		return Proof{}, err
	}
	var stored proofFile
	if !smallfile.Decode(text, &stored) || stored.Version != proofVersion || stored.Domain == "" {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return Proof{}, nil
		} else if err != nil {
			return Proof{}, err
		}
		return Proof{At: info.ModTime()}, nil
	}
	return stored.Proof, nil
}

// Save implements ProofStore. The new file is written under another name, and then
// replaces the old one. It is not forced to the disk: after a power failure the next
// proof is written again.
func (d *ProofDir) Save(_ context.Context, p Proof) error {
	if d.Path == "" {
		return errNoProofDir
	}
	text, err := json.Marshal(proofFile{proofVersion, p})
	if err != nil {
		return err
	}
	err = smallfile.Replace(d.path(p.ProofKey), proofTemp, text, false)
	d.changed(p.ProofKey)
	if err != nil {
		return fmt.Errorf("storing that %s was authenticated: %w", p.Domain, err)
	}
	return nil
}

// Delete implements ProofStore.
func (d *ProofDir) Delete(_ context.Context, of ProofKey) error {
	if d.Path == "" {
		return errNoProofDir
	}
	err := os.Remove(d.path(of))
	d.changed(of)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Forget implements ProofStore. The age of an invalid file is that of its last change.
func (d *ProofDir) Forget(ctx context.Context, before time.Time) error {
	if d.Path == "" {
		return errNoProofDir
	}
	files, err := os.ReadDir(d.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var problems []error
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		left := strings.HasPrefix(f.Name(), proofTemp)
		if !left && !(strings.HasPrefix(f.Name(), proofPrefix) && strings.HasSuffix(f.Name(), proofSuffix)) {
			continue
		}
		info, err := f.Info()
		if err != nil {
			continue // it has gone
		}
		written := info.ModTime()
		if left && time.Since(written) > leftFor || !left && d.isBefore(filepath.Join(d.Path, f.Name()), written, before) {
			if err := os.Remove(filepath.Join(d.Path, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				problems = append(problems, err)
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = nil
	d.changes++
	return errors.Join(problems...)
}

// isBefore reports whether the proof in a file is from before a time.
func (d *ProofDir) isBefore(path string, written, before time.Time) bool {
	p, err := readProof(path)
	if err != nil {
		return false
	}
	if p.Domain == "" {
		return written.Before(before)
	}
	return p.At.Before(before)
}
