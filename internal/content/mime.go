package content

import "bytes"

// enclosing are the types whose bodies begin with a header (RFC 2046 section
// 5.2, RFC 3462 section 2, RFC 6532 section 3.7, RFC 6533 section 4).
var enclosing = [...]string{
	"message/rfc822", "message/global", "message/news", "message/partial", "message/external-body",
	"message/global-headers", "text/rfc822-headers",
}

// contentType looks whether a Content-Type field announces parts or a message
// (RFC 2045 section 5.1). Where it cannot be read though it may, the structure
// is lost.
func (h *headerScanner) contentType(value []byte, cut bool) {
	mediaType, params, _ := bytes.Cut(value, []byte(";"))
	mediaType = bytes.TrimSpace(mediaType)
	h.encloses = false
	for _, e := range enclosing {
		h.encloses = h.encloses || isFold(mediaType, e)
	}
	_, parts := cutFold(mediaType, "multipart/")
	switch {
	case bytes.IndexByte(mediaType, '(') >= 0:
		h.lost = true // a comment
	case parts:
		h.enter(params, cut, isFold(mediaType, "multipart/digest"))
	}
}

// enter notes the boundary of a multipart whose body is about to begin. One
// without a boundary has no parts.
func (h *headerScanner) enter(params []byte, cut, digest bool) {
	boundary, ok := boundaryOf(params)
	switch {
	case !ok, cut, len(h.delimited) == maxDepth:
		h.lost = true
	case len(boundary) > 0:
		h.delimited = append(h.delimited, multipart{bytes.Clone(boundary), digest})
	}
}

// boundaryOf is the boundary among the parameters of a multipart, or nothing. It
// is false if they are written in a way that only a decoder understands: with
// comments, or in pieces (RFC 2231 section 3).
func boundaryOf(params []byte) (boundary []byte, ok bool) {
	for len(params) > 0 {
		var name, value []byte
		end := bytes.IndexAny(params, "=;")
		if end < 0 || params[end] == ';' {
			params = params[end+1:]
			if end < 0 {
				return nil, true
			}
			continue
		}
		name = bytes.TrimSpace(params[:end])
		value, params, ok = parameter(bytes.TrimLeft(params[end+1:], " \t"))
		rest, named := cutFold(name, "boundary")
		switch {
		case !ok, bytes.IndexByte(name, '(') >= 0, named && len(rest) > 0 && rest[0] == '*':
			return nil, false
		case named && len(rest) == 0:
			return value, len(value) > 0
		}
	}
	return nil, true
}

// parameter is a parameter's value, out of its quotes, and what follows it.
func parameter(s []byte) (value, rest []byte, ok bool) {
	if len(s) == 0 || s[0] != '"' {
		end := bytes.IndexByte(s, ';')
		if end < 0 {
			end = len(s)
		}
		value = bytes.TrimRight(s[:end], " \t")
		return value, s[end:], !bytes.ContainsAny(value, `"( `+"\t")
	}
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return value, s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		value = append(value, s[i])
	}
	return nil, nil, false
}

func isFold(s []byte, other string) bool {
	rest, ok := cutFold(s, other)
	return ok && len(rest) == 0
}

// cutFold is bytes.CutPrefix without regard to case.
func cutFold(s []byte, prefix string) (rest []byte, ok bool) {
	if len(s) < len(prefix) || !bytes.EqualFold(s[:len(prefix)], []byte(prefix)) {
		return nil, false
	}
	return s[len(prefix):], true
}
