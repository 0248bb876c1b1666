package smtpd

import (
	"net/netip"
	"sync"
)

// Limits on the memory that a client can use. Its parts:
//
//   - A session costs buffers for commands and replies, and those of TLS: less than 128
//     KiB.
//   - Its envelope has at most maxEnvelope; a client with more recipients is told to
//     send to the accepted ones first (452 4.5.3).
//   - Its content is in memory up to inMemory, and beyond that in a file.
//
// Envelopes and contents of all sessions share Server.MaxMemory. One stranger has an
// eighth of it, and all strangers together half, so that trusted clients always have
// room. Content for which there is no room goes to a file at once; a recipient for
// which there is none is refused for now (452 4.3.1).
const maxEnvelope = 256 << 10

// recipientCost is the memory of a recipient in addition to the text of its parameters.
const recipientCost = 128

// ledger is who holds how much.
type ledger struct {
	mu        sync.Mutex
	most      int64
	all       int64
	strangers int64
	holders   map[netip.Addr]*holder
	sessions  int
	strange   int // sessions of strangers
}

// holder is one client with all its sessions.
type holder struct {
	ledger   *ledger
	key      netip.Addr
	trusted  bool
	sessions int
	octets   int64
}

// clientKey is what of an address tells one client from another: a stranger with IPv6
// has a network of 64 bits for itself.
func clientKey(client netip.Addr, trusted bool) netip.Addr {
	if client.Is6() && !trusted {
		if p, err := client.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return client
}

// enter counts a session; nil where there are too many. A quarter is for clients that
// are trusted.
func (l *ledger) enter(key netip.Addr, trusted bool, most int64, perClient, total int) *holder {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most = most
	h := l.holders[key]
	if l.sessions >= total || !trusted && l.strange >= total-total/4 || h != nil && h.sessions >= perClient {
		return nil
	}
	if h == nil {
		h = &holder{ledger: l, key: key, trusted: trusted}
		if l.holders == nil {
			l.holders = make(map[netip.Addr]*holder)
		}
		l.holders[key] = h
	}
	h.sessions++
	l.sessions++
	if !trusted {
		l.strange++
	}
	return h
}

// leave ends a session, which then uses no memory.
func (h *holder) leave() {
	l := h.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions--
	if !h.trusted {
		l.strange--
	}
	if h.sessions--; h.sessions == 0 {
		delete(l.holders, h.key)
	}
}

// hold asks for room.
func (h *holder) hold(octets int64) bool {
	l := h.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all+octets > l.most ||
		!h.trusted && (l.strangers+octets > l.most/2 || h.octets+octets > l.most/8) {
		return false
	}
	h.add(octets)
	return true
}

// release gives room back.
func (h *holder) release(octets int64) {
	h.ledger.mu.Lock()
	defer h.ledger.mu.Unlock()
	h.add(-octets)
}

func (h *holder) add(octets int64) {
	h.octets += octets
	h.ledger.all += octets
	if !h.trusted {
		h.ledger.strangers += octets
	}
}
