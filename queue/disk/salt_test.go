package disk

import (
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestEachFileHasASaltOfItsOwn reads the salts of all kinds of files: no two are the same,
// so that no record of one is taken for one of another.
func TestEachFileHasASaltOfItsOwn(t *testing.T) {
	fs := crashfs.New(1)
	s := varied(t, fs, 2)
	must(t, s.takeCheckpoint(t.Context()))
	for range 2 {
		_, err := s.Put(t.Context(), time.Unix(1e9, 0), textMessage(strings.Repeat("large ", 2000)))
		must(t, err)
	}
	list, err := fs.List()
	must(t, err)
	of := map[uint64]string{0: "nothing"}
	kinds := map[string]bool{}
	for _, x := range list {
		for prefix, kind := range map[string]record.FileKind{segmentPrefix: record.SegmentFile, checkpointPrefix: record.CheckpointFile,
			contentPrefix: record.ContentFile, keysPrefix: record.KeysFile} {
			if !strings.HasPrefix(x.Name, prefix) {
				continue
			}
			f, err := fs.Open(x.Name, false)
			must(t, err)
			h, err := record.ReadHeader(f, kind)
			must(t, err)
			must(t, f.Close())
			if other, is := of[h.Salt]; is {
				t.Errorf("%s has the salt of %s", x.Name, other)
			}
			of[h.Salt], kinds[prefix] = x.Name, true
		}
	}
	if len(kinds) != 4 {
		t.Errorf("there are only files of the kinds %v", kinds)
	}
}
