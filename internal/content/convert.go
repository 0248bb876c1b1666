package content

// Conversion says which content SevenBit may encode anew.
type Conversion uint8

const (
	// ConvertUnsigned leaves a message as it is that has a DKIM-Signature or
	// ARC-Seal field: these sign the octets that go over the wire (RFC 6376
	// section 5.3).
	ConvertUnsigned Conversion = iota
	// ConvertSigned encodes such a message too, which breaks its signature.
	ConvertSigned
	// ConvertNothing leaves every message as it is.
	ConvertNothing
)

// SevenBit is the content of b for hosts that take 7-bit octets only (RFC 6152
// section 3): bodies with 8-bit octets are encoded as quoted-printable or base64,
// whichever is shorter, and the fields that say so are changed or added (RFC 2045
// section 6). Everything else stays octet for octet. A message without a
// MIME-Version gets one, and if it has no Content-Type either, its charset is
// "unknown-8bit" (RFC 1428). b must stay as it is while the result is in use.
//
// The error is an *Error with the status 5.6.3 if that cannot be done without
// loss: 8-bit octets are in a header, between parts, in a part that is signed,
// encrypted or encoded already, or in one that may not be encoded; or the message
// is signed, unless c says otherwise. It is 4.3.0 if b cannot be read.
func SevenBit(b *Body, c Conversion) (Body, error) {
	switch {
	case c == ConvertNothing:
		return Body{}, notConverted("8-bit content is not to be converted")
	case b.UTF8Header:
		return Body{}, notConverted("8-bit octets in a header cannot be converted")
	}
	p := planner{structure: newStructure(), conversion: c}
	if err := p.read(b); err != nil {
		return Body{}, err
	}
	return Prepare(converted{b, p.plan}, Relay)
}

func notConverted(reason string) *Error { return &Error{Reason: reason, Enhanced: "5.6.3"} }

// action is what is done with an entity.
type action uint8

const (
	leave    action = iota
	relabel         // its parts are converted, and its encoding is 7bit
	quote           // its body becomes quoted-printable
	toBase64        // its body becomes base64
)

// encoding is what the Content-Transfer-Encoding of the entity becomes.
func (a action) encoding() string {
	switch a {
	case quote:
		return "quoted-printable"
	case toBase64:
		return "base64"
	default:
		return "7bit"
	}
}

// plan is what is done with each entity, in the order of their numbers, and what
// the message's own header gets.
type plan struct {
	actions          []action
	addMIME, addType bool
}

func (p *plan) of(number int) action {
	if number < len(p.actions) {
		return p.actions[number]
	}
	return leave
}

// planner reads a message to find out what to do with each entity.
type planner struct {
	*structure
	plan
	conversion Conversion

	leaf leaf // whose body is read
}

// leaf is an entity that has no parts.
type leaf struct {
	number                int
	unfit                 *Error // why its body may not be encoded
	octets, high, escaped int64
}

// read makes the plan.
func (p *planner) read(b *Body) error {
	r, err := b.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	lines := newLines(r)
	for lines.next() {
		if err := p.line(lines); err != nil {
			return err
		}
	}
	if lines.err != nil {
		return lines.err
	}
	if err := p.endLeaf(); err != nil {
		return err
	}
	if len(p.actions) == 0 {
		p.addMIME, p.addType = false, false
	}
	if p.lost {
		return errLost
	}
	return nil
}

// Reasons not to convert. They hold no state.
var (
	errLost     = notConverted("8-bit content whose structure cannot be told is not converted")
	errSigned   = notConverted("a signed message is not converted")
	errBeside   = notConverted("8-bit octets beside the parts of a message cannot be converted")
	errSealed   = notConverted("a signed or encrypted part with 8-bit octets cannot be converted")
	errEncoded  = notConverted("8-bit octets in a part that is said to be encoded cannot be converted")
	errEnclosed = notConverted("8-bit octets in a message type that may not be encoded cannot be converted")
)

// line looks at the next line, or at a piece of one that is very long.
func (p *planner) line(l *lines) error {
	kind := bodyLine
	switch {
	case l.whole:
		kind = p.structure.line(l.text)
	case !p.inBody:
		kind = headerLine
	case p.outside:
		kind = besideParts
	}
	switch kind {
	case delimiter:
		return p.endLeaf()
	case headerEnd:
		return p.header()
	case besideParts:
		if hasHighBit(l.text) {
			return errBeside
		}
	case bodyLine:
		p.leaf.count(l.text)
	}
	return nil
}

// count looks at octets of a body.
func (l *leaf) count(text []byte) {
	l.octets += int64(len(text))
	for _, c := range text {
		if c >= 0x80 {
			l.high++
		}
		if mustQuote(c) {
			l.escaped++
		}
	}
}

// action is what is done with the leaf: the shorter encoding is the better one.
func (l *leaf) action() action {
	if 6*l.escaped <= l.octets { // two octets more for each, or one for every three
		return quote
	}
	return toBase64
}

// header looks at what the header of an entity has said.
func (p *planner) header() error {
	if p.number == 0 {
		if p.dkim && p.conversion != ConvertSigned {
			return errSigned
		}
		p.addMIME, p.addType = !p.version, !p.version && len(p.mediaType) == 0
	}
	if p.container && p.eightBit && !p.signed {
		p.set(p.number, relabel)
	}
	p.leaf = leaf{number: p.number, unfit: p.unfit()}
	return nil
}

// unfit is why the body of the entity may not be encoded; nil if it may.
func (p *planner) unfit() *Error {
	_, message := cutFold(p.mediaType, "message/")
	switch {
	case p.signed:
		return errSealed
	case p.encoding != identity:
		return errEncoded
	case message:
		return errEnclosed
	}
	return nil
}

// endLeaf decides about the body that has ended.
func (p *planner) endLeaf() error {
	l := p.leaf
	p.leaf = leaf{}
	switch {
	case l.high == 0:
		return nil
	case l.unfit != nil:
		return l.unfit
	}
	p.set(l.number, l.action())
	return nil
}

func (p *planner) set(number int, a action) {
	for len(p.actions) <= number {
		p.actions = append(p.actions, leave)
	}
	p.actions[number] = a
}
