package disk

import (
	"strings"
	"syscall"
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
	fs.Inject(crashfs.FailNth(crashfs.OpRemove, 1, true, syscall.EIO)) // so that there are two of what is suspended
	for _, name := range []string{"one.example", "two.example"} {
		must(t, s.Suspend(t.Context(), time.Unix(1e9, 0), halted(name)))
	}
	fs.Inject(nil)
	other, _, _, _ := lastOutcomeAlone(t, true) // with two files of outcomes
	of := map[uint64]string{0: "nothing"}
	kinds := map[string]bool{}
	saltsOf(t, fs, of, kinds)
	saltsOf(t, other, of, kinds)
	if len(kinds) != 6 {
		t.Errorf("there are only files of the kinds %v", kinds)
	}
}

// saltsOf adds the salts of all files, each of which must be a new one.
func saltsOf(t *testing.T, fs *crashfs.FS, of map[uint64]string, kinds map[string]bool) {
	t.Helper()
	list, err := fs.List()
	must(t, err)
	for _, x := range list {
		for prefix, kind := range map[string]record.FileKind{segmentPrefix: record.SegmentFile, checkpointPrefix: record.CheckpointFile,
			contentPrefix: record.ContentFile, keysPrefix: record.KeysFile, outcomesPrefix: record.OutcomesFile, suspendedPrefix: record.SuspendedFile} {
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
}
