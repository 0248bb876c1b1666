//go:build linux

package bench

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/peers"
)

// The environment in which TestMain leaves the paths of what it has built.
const (
	relayPath  = "NEXTHOP_RELAY"
	submitPath = "NEXTHOP_SUBMIT"
)

var (
	compare = flag.Bool("compare", false, "compare with Postfix and Exim, which takes minutes")
	rounds  = flag.Int("rounds", 3, "how often each candidate has its turn in the comparison")
	divide  = flag.Int("divide", 1, "divide the messages of throughput and tls by this, to see whether all works")
	only    = flag.String("only", "", "one part of the comparison: throughput, tls, lone, hole, distance, library, backlog; crowded, which takes long, runs only so")
	old     = flag.String("old", "", "compare the processor time with that of an earlier relay, this binary")
	profile = flag.String("library.cpuprofile", "", "file for a profile of the library's part")
	alone   = flag.String("alone", "", "one candidate of the comparison: nexthop, Postfix, Exim")
)

func TestMain(m *testing.M) {
	flag.Parse()
	var skipped []string
	if !*compare {
		skipped = append(skipped, "^TestComparison$")
	}
	if *old == "" {
		skipped = append(skipped, "^TestBesideOld$")
	}
	if skipped != nil {
		if err := flag.Set("test.skip", strings.Join(skipped, "|")); err != nil {
			panic(err)
		}
	}
	dir, err := os.MkdirTemp("", "nexthop")
	if err != nil {
		panic(err)
	}
	code := peers.Main(m, func() ([]string, error) {
		relay, submit := filepath.Join(dir, "relay"), filepath.Join(dir, "submit")
		if err := build(relay, filepath.Join("..", "..", "examples"), "./relay"); err != nil {
			return nil, err
		}
		return []string{relayPath + "=" + relay, submitPath + "=" + submit}, build(submit, ".", "./submit")
	})
	os.RemoveAll(dir)
	os.Exit(code)
}

func build(to, module, pkg string) error {
	cmd := exec.Command("go", "build", "-o", to, pkg)
	cmd.Dir = module
	cmd.Stderr = os.Stderr
	return cmd.Run()
}
