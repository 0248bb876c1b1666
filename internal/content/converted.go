package content

import "io"

// converted is a body by a plan: a Source.
type converted struct {
	body *Body
	plan plan
}

// Size is not known before it is read.
func (c converted) Size() int64 { return -1 }

// Open converts while it is read.
func (c converted) Open() (io.ReadCloser, error) {
	r, err := c.body.Open()
	if err != nil {
		return nil, err
	}
	return &converter{structure: newStructure(), plan: &c.plan, from: r, lines: newLines(r)}, nil
}

// converter is a reader of converted octets.
type converter struct {
	*structure
	plan  *plan
	from  io.ReadCloser
	lines *lines

	body  encoder
	drop  bool   // the line belongs to a field that was replaced
	out   []byte // converted, and not handed out before at
	at    int
	ended bool
}

// Read yields converted octets.
func (c *converter) Read(p []byte) (int, error) {
	for c.at == len(c.out) {
		if c.ended {
			return 0, io.EOF
		}
		c.out, c.at = c.out[:0], 0
		switch {
		case c.lines.next():
			c.line(c.lines)
		case c.lines.err != nil:
			return 0, c.lines.err
		default:
			c.out, c.ended = c.body.end(c.out, false), true
		}
	}
	n := copy(p, c.out[c.at:])
	c.at += n
	return n, nil
}

// Close closes the body's reader.
func (c *converter) Close() error { return c.from.Close() }

// line converts a line, or a piece of one.
func (c *converter) line(l *lines) {
	kind := bodyLine
	switch {
	case l.whole:
		kind = c.structure.line(l.text)
	case !c.inBody:
		kind = headerLine
	}
	switch kind {
	case headerLine:
		c.header(l)
	case headerEnd:
		c.endHeader()
	case delimiter:
		c.out = c.body.end(c.out, true)
		c.raw(l)
	case besideParts:
		c.raw(l)
	case bodyLine:
		c.out = c.body.text(c.out, l.text, l.ends)
	}
}

func (c *converter) raw(l *lines) {
	c.out = append(c.out, l.text...)
	if l.ends {
		c.out = append(c.out, '\r', '\n')
	}
}

// header passes a line of a header on, or puts another encoding in its place.
func (c *converter) header(l *lines) {
	if !l.whole {
		if !c.drop {
			c.raw(l)
		}
		return
	}
	action := c.plan.of(c.number)
	c.drop = c.name == encodingField && action != leave
	switch {
	case !c.drop:
		c.raw(l)
	case l.text[0] != ' ' && l.text[0] != '\t':
		c.add("Content-Transfer-Encoding: " + action.encoding())
	}
}

// endHeader adds what the header lacks, and ends it.
func (c *converter) endHeader() {
	if c.number == 0 && c.plan.addMIME {
		c.add("MIME-Version: 1.0")
	}
	if c.number == 0 && c.plan.addType {
		c.add("Content-Type: text/plain; charset=unknown-8bit")
	}
	action := c.plan.of(c.number)
	if action != leave && c.encodings == 0 {
		c.add("Content-Transfer-Encoding: " + action.encoding())
	}
	c.add("")
	c.body = encoder{}
	if action == quote || action == toBase64 {
		c.body.action = action
	}
}

func (c *converter) add(line string) {
	c.out = append(c.out, line...)
	c.out = append(c.out, '\r', '\n')
}
