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

// TestMessageBytes is what the record of a message takes in its segment.
func TestMessageBytes(t *testing.T) {
	if got := index.MessageBytes(1000, index.Held|index.Marked); got != index.MessageCost+1000 {
		t.Errorf("a message of 1000 bytes takes %d", got)
	}
	if got := index.MessageBytes(1000, index.InFile); got != index.MessageCost {
		t.Errorf("a message in a file of its own takes %d", got)
	}
}
