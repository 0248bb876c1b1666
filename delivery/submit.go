package delivery

import (
	"context"
	"errors"
	"io"
	"maps"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/events"
	"github.com/nexthop-mail/nexthop/internal/content"
	"github.com/nexthop-mail/nexthop/queue"
)

// Submit puts a message into the queue and returns its id when the message is durable
// there. A running agent delivers it at once. While the agent is not running, the
// message waits. While 4,096 events wait for the Events hook, Submit waits.
//
// A message that can never be delivered is refused with an *Error that is not
// temporary, so that a server can refuse it, too (RFC 5321 section 3.6.3). Unlike a
// *queue.MessageError of Put, which may be its cause, it has the reply for the server's
// client (Error.Status). It is for
//
//   - an invalid envelope: 5.1.x, and 5.5.4 for its parameters;
//   - content that the Sender's Content policy refuses, 5.6.0, or that is longer than
//     MaxSize, 5.3.4;
//   - content with more than MaxHops Received fields, which is in a loop: 5.4.6;
//   - a message that has expired, 5.4.7.
//
// A temporary *Error means that the content cannot be read or signed just now, or that
// Submit waited for the Events hook and that did not return for a minute.
// ErrDuplicate, with the id of the message that is in the queue, ErrFull, ErrClosed,
// the error of ctx and other errors of the queue are returned unchanged. Content is not
// read further once ctx has ended; a Read that blocks has to end by itself.
//
// A message whose header has TLS-Required: No is queued with TLSOptional, unless it has
// another TLSRequirement (RFC 8689 section 4.1).
//
// The queued content has the line ends in which it is sent, CRLF. Long content is never
// in memory as a whole; it is opened two or three times. Of short contents just submitted
// a running agent keeps up to 4 MiB in memory for the first attempt, which then does not
// read the queue. Submit does not change m.
func (a *Agent) Submit(ctx context.Context, m *queue.Message) (string, error) {
	if a.Queue == nil {
		return "", errNoQueue
	}
	now := a.time()
	parts, err := checkMessage(m, now.Wall)
	if err != nil {
		return "", err
	}
	switch err := a.events.Wait(ctx); {
	case errors.Is(err, events.ErrStuck):
		return "", &Error{Stage: StageMessage, Verdict: NotNow, Enhanced: "4.3.2", Err: errHookStuck}
	case err != nil:
		return "", err
	}
	body, err := a.admit(ctx, m.Content)
	if err != nil {
		return "", err
	}
	defer body.Release()
	accepted := *m
	accepted.Content = prepared{&body}
	accepted.UTF8 = attempt.IsUTF8(m) // of all recipients: one destination may have none of those that say so
	accepted.TLS = attempt.TLSOf(m, &body.Facts)
	if accepted.Arrived.IsZero() {
		accepted.Arrived = now.Wall
	}
	if !accepted.NotBefore.IsZero() {
		accepted.NotBefore = now.Ahead(accepted.NotBefore)
	}
	final := &body
	if a.Sign != nil {
		signed, err := a.signed(ctx, &accepted)
		if err != nil {
			return "", err
		}
		defer signed.Release()
		accepted.Content, final = prepared{&signed}, &signed
	}
	id, err := a.Queue.Put(ctx, now.Now, &accepted)
	if err != nil {
		return id, atDoor(err)
	}
	if len(parts) == 1 && !accepted.NotBefore.After(now.Now) {
		a.fresh.Keep(id, final)
	}
	a.Wake()
	a.accepted(id, m, accepted.Content.Size(), parts)
	return id, nil
}

// Errors of Submit.
var (
	errTooLarge = errors.New("the content is longer than is taken here")
	errLoop     = errors.New("too many Received fields: the message loops")
	errStale    = errors.New("the message has expired already")

	errHookStuck = errors.New("the Events hook has not returned for a minute (if it calls Submit, it must pass on its context)")
)

// checkMessage looks at everything but the content.
func checkMessage(m *queue.Message, now time.Time) ([]queue.Part, error) {
	if err := ValidateEnvelope(m); err != nil {
		return nil, err
	}
	parts, err := queue.Split(m)
	if err != nil {
		return nil, atDoor(err)
	}
	if !m.Expires.IsZero() && (!m.Expires.After(now) || !m.Expires.After(m.NotBefore)) {
		return nil, refusal("5.4.7", errStale)
	}
	return parts, nil
}

// admit looks at the content and makes it canonical.
func (a *Agent) admit(ctx context.Context, c queue.Content) (content.Body, error) {
	limit := a.maxSize()
	body, err := content.PrepareUntil(ctx, bounded(c, limit), a.sender().Content.policy())
	switch {
	case errors.Is(err, errTooLarge):
		return body, refusal("5.3.4", errTooLarge)
	case err != nil && ctx.Err() != nil:
		return body, ctx.Err()
	case err != nil:
		return body, contentRefused(err)
	case body.Octets > limit:
		err = refusal("5.3.4", errTooLarge)
	case body.Received > a.maxHops():
		err = refusal("5.4.6", errLoop)
	}
	if err != nil {
		body.Release()
	}
	return body, err
}

// signed is the content that the Sign hook answers.
func (a *Agent) signed(ctx context.Context, m *queue.Message) (content.Body, error) {
	c, err := a.sign(ctx, m)
	if err != nil {
		return content.Body{}, signError(err)
	}
	body, err := content.PrepareUntil(ctx, c, a.sender().Content.policy())
	if err != nil && ctx.Err() != nil {
		return body, ctx.Err()
	}
	if err != nil {
		return body, contentRefused(err)
	}
	return body, nil
}

// accepted tells that the queue has a message: once for each recipient.
func (a *Agent) accepted(id string, m *queue.Message, size int64, parts []queue.Part) {
	if a.Events == nil {
		a.counts.tally(Queued, len(m.Recipients))
		return
	}
	var room [1]Event
	list := room[:0]
	if len(m.Recipients) > 1 {
		list = make([]Event, 0, len(m.Recipients))
	}
	now, metadata := time.Now(), maps.Clone(m.Metadata)
	for i := range parts {
		for _, at := range parts[i].Recipients {
			list = append(list, Event{
				Time: now, Kind: Queued, ID: id, From: m.From, Recipient: m.Recipients[at].Address,
				Destination: parts[i].Destination, Next: m.NotBefore, Tenant: m.Tenant, Metadata: metadata, Size: size,
			})
		}
	}
	a.note(list...)
}

// atDoor converts the queue's error about a message to an *Error, and returns every
// other error unchanged.
func atDoor(err error) error {
	var bad *queue.MessageError
	if !errors.As(err, &bad) {
		return err
	}
	e := refusal(bad.Enhanced, err)
	if bad.Enhanced == "" || bad.Enhanced[0] != '5' {
		e.Verdict = NotNow
	}
	return e
}

// contentRefused is an error of package content in the same form.
func contentRefused(err error) *Error {
	e := refusal("5.6.0", err)
	var ce *content.Error
	if errors.As(err, &ce) {
		e.Enhanced = ce.Enhanced
		if ce.Temporary() {
			e.Verdict = NotNow
		}
	}
	return e
}

func refusal(enhanced string, err error) *Error {
	return &Error{Stage: StageMessage, Verdict: Refused, Enhanced: enhanced, Err: err}
}

func (a *Agent) maxHops() int {
	if a.MaxHops == 0 {
		return defaultMaxHops
	}
	return a.MaxHops
}

// maxSize is the limit for contents.
func (a *Agent) maxSize() int64 {
	switch {
	case a.MaxSize == 0:
		return defaultMaxSize
	case a.MaxSize < 0:
		return 1<<63 - 1
	default:
		return a.MaxSize
	}
}

// ValidateEnvelope checks the addresses of a message's reverse-path and recipients,
// without using DNS. It returns nil if mail can be sent to all of them, and otherwise
// an *Error about the first invalid one.
func ValidateEnvelope(m *queue.Message) error {
	if f := attempt.ValidateEnvelope(m); f != nil {
		return newError(f)
	}
	return nil
}

// prepared is content as it is sent.
type prepared struct{ body *content.Body }

func (p prepared) Size() int64                  { return p.body.Size() }
func (p prepared) Bytes() []byte                { return p.body.Bytes() }
func (p prepared) Open() (io.ReadCloser, error) { return p.body.Open() }

// bounded is content that cannot be read for longer than a limit.
func bounded(c queue.Content, limit int64) queue.Content {
	if queue.BytesOf(c) != nil {
		return c
	}
	return boundedContent{c, limit}
}

type boundedContent struct {
	queue.Content
	limit int64
}

func (b boundedContent) Open() (io.ReadCloser, error) {
	if b.Size() > b.limit {
		return nil, errTooLarge
	}
	r, err := b.Content.Open()
	if err != nil {
		return nil, err
	}
	return &boundedReader{r, b.limit}, nil
}

type boundedReader struct {
	io.ReadCloser
	left int64
}

// Read fails at the first octet above the limit.
func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}
