package index_test

import (
	"testing"
	"unsafe"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// TestSizeOfADelivery holds the index to the 40 bytes it promises.
func TestSizeOfADelivery(t *testing.T) {
	if index.ChunkBytes != 34 {
		t.Errorf("a delivery takes %d bytes in its chunk, want 34", index.ChunkBytes)
	}
	if s := unsafe.Sizeof(index.Slot(0)); s != 4 {
		t.Errorf("and %d in its lane, want 4", s)
	}
}
