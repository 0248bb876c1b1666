package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	s, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Put(context.Background(), time.Unix(1e9, 0), &queue.Message{
		Recipients: []queue.Recipient{{Address: "someone@example.com"}}, Content: queue.String("hello, world")})
	if err != nil {
		t.Fatal(err)
	}
	call := func(want int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if got := run(args, &out, &errs); got != want {
			t.Errorf("spool %q ended with %d, want %d: %s%s", args, got, want, &out, &errs)
		}
		return out.String()
	}
	call(exitTryAgain, "check", dir)
	call(exitTryAgain, "dump", dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	call(exitUsage)
	call(exitUsage, "mend", dir)
	call(exitNoSpool, "check", filepath.Join(dir, "none"))
	call(0, "check", dir)
	if out := call(0, "dump", dir); !strings.Contains(out, "someone@example.com") {
		t.Errorf("dump shows %q", out)
	}
	name := filepath.Join(dir, "segment-0000000000000001")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, []byte("hello"))] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := call(exitDamage, "check", dir); !strings.Contains(out, id) {
		t.Errorf("check says %q, want it to name %s", out, id)
	}
}
