package address

import "unicode"

// isPermitted reports whether a label may have a code point beyond ASCII, by the
// rules of RFC 5892 section 3 except those that idna.Registration applies
// already (Unassigned, Unstable, IgnorableProperties, the context of joiners).
// They leave out symbols, punctuation, marks for symbols and old Hangul letters.
func isPermitted(r rune) bool {
	switch {
	case unicode.Is(exceptionsAllowed, r):
		return true
	case unicode.Is(exceptionsDisallowed, r), unicode.Is(ignorableBlocks, r), unicode.Is(oldHangulJamo, r):
		return false
	case r == '\u200c', r == '\u200d': // joiners; their context is checked with the label
		return true
	}
	return unicode.In(r, unicode.Ll, unicode.Lu, unicode.Lo, unicode.Nd, unicode.Lm, unicode.Mn, unicode.Mc)
}

// The tables of RFC 5892 section 2.6, with those code points beyond ASCII which
// the general rule would judge otherwise, and of sections 2.4 and 2.9. Code points
// that want a certain context are allowed: only registries must look at it (RFC
// 5891 section 5.4).
var (
	exceptionsAllowed = &unicode.RangeTable{R16: []unicode.Range16{
		{Lo: 0x00b7, Hi: 0x00b7, Stride: 1}, // middle dot
		{Lo: 0x0375, Hi: 0x0375, Stride: 1}, // keraia
		{Lo: 0x05f3, Hi: 0x05f4, Stride: 1}, // geresh, gershayim
		{Lo: 0x06fd, Hi: 0x06fe, Stride: 1},
		{Lo: 0x0f0b, Hi: 0x0f0b, Stride: 1},
		{Lo: 0x3007, Hi: 0x3007, Stride: 1}, // ideographic zero
		{Lo: 0x30fb, Hi: 0x30fb, Stride: 1}, // katakana middle dot
	}}
	exceptionsDisallowed = &unicode.RangeTable{R16: []unicode.Range16{
		{Lo: 0x0640, Hi: 0x0640, Stride: 1},
		{Lo: 0x07fa, Hi: 0x07fa, Stride: 1},
		{Lo: 0x302e, Hi: 0x302f, Stride: 1},
		{Lo: 0x3031, Hi: 0x3035, Stride: 1},
		{Lo: 0x303b, Hi: 0x303b, Stride: 1},
	}}
	ignorableBlocks = &unicode.RangeTable{
		R16: []unicode.Range16{{Lo: 0x20d0, Hi: 0x20ff, Stride: 1}},   // marks for symbols
		R32: []unicode.Range32{{Lo: 0x1d100, Hi: 0x1d24f, Stride: 1}}, // music
	}
	oldHangulJamo = &unicode.RangeTable{R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x11ff, Stride: 1},
		{Lo: 0xa960, Hi: 0xa97f, Stride: 1},
		{Lo: 0xd7b0, Hi: 0xd7ff, Stride: 1},
	}}
)
