//go:build linux

package bench

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/peers"
)

// Who is where.
const (
	dnsAddr   = "127.0.0.1:53"
	relayAddr = "127.0.0.2:25"
	sinkAddr  = "127.0.0.9:25"
	holeIP    = "127.0.0.66"
	farAddr   = "127.0.0.30:25"
)

// Where mail goes.
const (
	oneDomain  = "one.bench.test"
	holeDomain = "hole.bench.test" // its first host is a black hole, its second the sink
	farDomain  = "far.bench.test"  // its host is far away
)

// domain is the n-th of any number of domains with the same host.
func domain(n int) string { return fmt.Sprintf("d%d.many.bench.test", n) }

// zone is the DNS of all measures.
const zone = `mx A 127.0.0.9
one MX 10 mx
*.many MX 10 mx
hole MX 10 black
hole MX 20 mx
black A 127.0.0.66
far MX 10 distant
distant A 127.0.0.30
`

// startDNS starts BIND with the zone.
func startDNS(t *testing.T) {
	t.Helper()
	peers.BIND("127.0.0.1", map[string]string{"bench.test": zone}).Start(t)
}

// diskFolder is a folder for a queue: on a disk, for in memory durability costs nothing.
func diskFolder(t *testing.T) string {
	t.Helper()
	const tmpfs = 0x01021994
	dir, err := os.MkdirTemp("/var/tmp", "nexthop-bench") //nolint:usetesting // the test's own folder may lie in memory
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type == tmpfs {
		t.Fatalf("%s lies in memory: this machine cannot compare durable queues", dir)
	}
	return dir
}
