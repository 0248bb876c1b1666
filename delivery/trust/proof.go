package trust

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// ProofKey is what a proof is about.
type ProofKey struct {
	// Domain is the recipient domain, in canonical form. Host is a host of it; it is
	// empty if the proof is about the domain, whichever of its hosts was authenticated.
	Domain string `json:"domain"`
	Host   string `json:"host,omitempty"`

	// By is the policy: "dane" or "mta-sts".
	By string `json:"by"`
}

// Proof is the record that a host or a domain was authenticated.
type Proof struct {
	ProofKey

	// At is the time of the last proof, to within a day.
	At time.Time `json:"at"`

	// Told is when it was reported that the proof is no longer there; zero if it was
	// not, or if there was a proof since.
	Told time.Time `json:"told,omitzero"`
}

// ProofStore keeps proofs for a Ratchet, so that they survive a restart and can be
// shared. Several Sources in several processes may use it at the same time; the last one
// to save wins.
//
//   - Load returns the proof last saved for a key. If there is none, it returns the zero
//     Proof and no error. If it cannot tell, it returns an error.
//   - Save replaces the proof for its key. When it returns, Load returns the new one,
//     even in a process that starts later.
//   - Delete removes the proof for a key. It is not an error if there is none.
//   - Forget removes all proofs from before a time.
//   - Every method is safe for concurrent use, and returns when ctx ends. Save and Delete
//     may be called in the middle of a TLS handshake and must be quick.
type ProofStore interface {
	Load(ctx context.Context, of ProofKey) (Proof, error)
	Save(ctx context.Context, p Proof) error
	Delete(ctx context.Context, of ProofKey) error
	Forget(ctx context.Context, before time.Time) error
}

// ProofMemory is a ProofStore that is lost with the process. The zero value is ready for
// use; it must not be copied.
type ProofMemory struct {
	// MaxProofs limits the number of proofs. Default: 65,536. The oldest are removed
	// first.
	MaxProofs int

	mu    sync.Mutex
	known map[ProofKey]Proof
}

const defaultProofs = 65536

// Load implements ProofStore.
func (m *ProofMemory) Load(_ context.Context, of ProofKey) (Proof, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[of], nil
}

// Save implements ProofStore.
func (m *ProofMemory) Save(_ context.Context, p Proof) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = make(map[ProofKey]Proof)
	}
	m.known[p.ProofKey] = p
	most := cmp.Or(m.MaxProofs, defaultProofs)
	if len(m.known) <= most {
		return nil
	}
	// A tenth goes at a time, so that this is rare.
	var all []Proof
	for _, p := range m.known {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Proof) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Host, b.Host))
	})
	for _, old := range all[:len(all)-most+most/10] {
		delete(m.known, old.ProofKey)
	}
	return nil
}

// Delete implements ProofStore.
func (m *ProofMemory) Delete(_ context.Context, of ProofKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, of)
	return nil
}

// Forget implements ProofStore.
func (m *ProofMemory) Forget(_ context.Context, before time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for of, p := range m.known {
		if p.At.Before(before) {
			delete(m.known, of)
		}
	}
	return nil
}
