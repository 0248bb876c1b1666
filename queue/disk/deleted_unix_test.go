//go:build unix

package disk_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

// TestDeletedWhileOpen: a spool whose files somebody deletes accepts no more mail, which
// would be lost with the process. It still delivers what it had accepted. One that was
// moved is what it was.
func TestDeletedWhileOpen(t *testing.T) {
	all := func(pattern string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			files, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil || len(files) == 0 {
				t.Fatalf("%s: %q, %v", pattern, files, err)
			}
			for _, f := range files {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, c := range []struct {
		name   string
		remove func(t *testing.T, dir string)
		want   error
	}{
		{"the directory", func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, disk.ErrDeleted},
		{"its files", all("*"), disk.ErrDeleted},
		{"the lock", all("lock"), nil},
		{"it was moved", func(t *testing.T, dir string) {
			if err := os.Rename(dir, dir+"-moved"); err != nil {
				t.Fatal(err)
			}
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "spool")
			s, err := disk.Open(dir, disk.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			now := time.Now()
			put := func() error {
				_, err := s.Put(t.Context(), now, &queue.Message{
					From: "a@from.test", Recipients: []queue.Recipient{{Address: "b@e.test"}}, Content: queue.String("Subject: x\r\n\r\nx\r\n"),
				})
				return err
			}
			if err := put(); err != nil {
				t.Fatal(err)
			}
			c.remove(t, dir)
			for range 2 {
				if err := put(); !errors.Is(err, c.want) {
					t.Errorf("Put: %v, want %v", err, c.want)
				}
			}
			claimed, err := s.Claim(t.Context(), now, queue.ClaimOptions{Max: 1})
			if err != nil || len(claimed.Deliveries) != 1 {
				t.Fatalf("claimed %+v, %v", claimed, err)
			}
			content, err := s.Open(t.Context(), claimed.Deliveries[0].Message.ID)
			if err != nil {
				t.Fatal(err)
			}
			in, err := content.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			if text, err := io.ReadAll(in); err != nil || string(text) != "Subject: x\r\n\r\nx\r\n" {
				t.Errorf("content %q, %v", text, err)
			}
		})
	}
}
