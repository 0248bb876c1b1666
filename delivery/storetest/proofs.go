package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nexthop-mail/nexthop/delivery/trust"
)

// RunProofs makes a subtest of each rule of trust.ProofStore. open makes an empty store.
func RunProofs(t *testing.T, open func(t *testing.T) trust.ProofStore) {
	t.Helper()
	run(t, proofRules(), open)
}

// Proofs returns which rules of trust.ProofStore are broken by the stores that open
// makes, each of them empty.
func Proofs(ctx context.Context, open func() (trust.ProofStore, error)) error {
	return check(ctx, proofRules(), open)
}

func proofRules() []rule[trust.ProofStore] {
	return []rule[trust.ProofStore]{
		{"a proof that is not there is no error", proofsMissing},
		{"Load returns the proof last saved for a key", proofsLoad},
		{"Delete removes the proof for a key", proofsDelete},
		{"Forget removes proofs from before a time", proofsForget},
		{"many may use the proofs at once", proofsTogether},
	}
}

// proofTime is when the first proof was.
var proofTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// proofKeys are keys that differ in one part, or in where one part ends and the next begins.
func proofKeys() []trust.ProofKey {
	long := longDomain()
	return []trust.ProofKey{
		{Domain: "a.test", Host: "mx.test", By: "dane"},
		{Domain: "a.test", By: "dane"},
		{Domain: "a.test", By: "mta-sts"},
		{Domain: "mx.test", Host: "a.test", By: "dane"},
		{Domain: "a.test", Host: "mx.test", By: "mta-sts"},
		{Domain: "a.testmx.test", By: "dane"},
		{Domain: "../a.test", Host: "x\n\x00", By: "dane"},
		{Domain: long, Host: long, By: "dane"},
	}
}

// proof is a proof for the key with an index.
func proof(i int) trust.Proof {
	return trust.Proof{ProofKey: proofKeys()[i], At: proofTime.Add(time.Duration(i) * time.Hour)}
}

func saveProofs(ctx context.Context, s trust.ProofStore) error {
	for i := range proofKeys() {
		if err := s.Save(ctx, proof(i)); err != nil {
			return fmt.Errorf("Save: %w", err)
		}
	}
	return nil
}

// hasProof wants a proof; with the zero Proof, none.
func hasProof(ctx context.Context, s trust.ProofStore, of trust.ProofKey, want trust.Proof) error {
	p, err := s.Load(ctx, of)
	if err != nil || p.ProofKey != want.ProofKey || !p.At.Equal(want.At) || !p.Told.Equal(want.Told) {
		return fmt.Errorf("Load(%q) = %v, %w, want %v", of, p, err, want)
	}
	return nil
}

func proofsMissing(ctx context.Context, s trust.ProofStore) error {
	var problems []error
	for _, of := range proofKeys() {
		problems = append(problems, hasProof(ctx, s, of, trust.Proof{}), s.Delete(ctx, of), s.Forget(ctx, proofTime))
	}
	return errors.Join(problems...)
}

func proofsLoad(ctx context.Context, s trust.ProofStore) error {
	problem := proofsMissing(ctx, s) // so that a store which remembers that is found out
	problem = errors.Join(problem, saveProofs(ctx, s))
	for i, of := range proofKeys() {
		problem = errors.Join(problem, hasProof(ctx, s, of, proof(i)))
	}
	for i, of := range proofKeys() {
		told := proof(i)
		told.At, told.Told = told.At.Add(-time.Minute), told.At.Add(time.Minute)
		problem = errors.Join(problem, s.Save(ctx, told), hasProof(ctx, s, of, told))
		problem = errors.Join(problem, s.Save(ctx, proof(i)), hasProof(ctx, s, of, proof(i)))
	}
	return problem
}

func proofsDelete(ctx context.Context, s trust.ProofStore) error {
	problem := saveProofs(ctx, s)
	for i, of := range proofKeys() {
		problem = errors.Join(problem, hasProof(ctx, s, of, proof(i)), s.Delete(ctx, of))
		for k, other := range proofKeys() {
			var want trust.Proof
			if k > i {
				want = proof(k)
			}
			problem = errors.Join(problem, hasProof(ctx, s, other, want))
		}
	}
	return errors.Join(problem, s.Save(ctx, proof(1)), hasProof(ctx, s, proofKeys()[1], proof(1)))
}

func proofsForget(ctx context.Context, s trust.ProofStore) error {
	problem := saveProofs(ctx, s)
	for i, of := range proofKeys() {
		problem = errors.Join(problem, hasProof(ctx, s, of, proof(i)))
	}
	const before = 3
	problem = errors.Join(problem, s.Forget(ctx, proof(before).At))
	for i, of := range proofKeys() {
		var want trust.Proof
		if i >= before {
			want = proof(i)
		}
		problem = errors.Join(problem, hasProof(ctx, s, of, want))
	}
	return problem
}

func proofsTogether(ctx context.Context, s trust.ProofStore) error {
	var all errgroup.Group
	for i := range 8 {
		all.Go(func() error {
			of := trust.ProofKey{Domain: strings.Repeat("d", 1+i%2), By: "mta-sts"}
			for n := range 20 {
				if err := s.Save(ctx, trust.Proof{ProofKey: of, At: proofTime.Add(time.Duration(n) * time.Second)}); err != nil {
					return fmt.Errorf("Save: %w", err)
				}
				if p, err := s.Load(ctx, of); err != nil || p.ProofKey != of {
					return fmt.Errorf("while others save, Load(%q) = %v, %w", of, p, err)
				}
			}
			return nil
		})
	}
	return all.Wait()
}
