package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nexthop-mail/nexthop/queue"
)

// The keys in records of Log, and in the LogValue of an Event and an Error.
const (
	KeyEvent       = "event"       // the kind, in one word
	KeyID          = "id"          // of the message
	KeyFrom        = "from"        // the reverse-path; "<>" is the null one
	KeyRecipient   = "recipient"   // an address
	KeyDestination = "destination" // a domain
	KeyAttempt     = "attempt"     // its number, from 1
	KeyHost        = "host"        // the host that decided
	KeyAddr        = "addr"        // its address and port
	KeyRoute       = "route"       // how it was found: mx, implicit, literal, smarthost, fallback
	KeyTLS         = "tls"         // none, encrypted, verified, or the policy that verified the certificate
	KeyStage       = "stage"       // of the failure
	KeyCode        = "code"        // of the reply
	KeyEnhanced    = "enhanced"    // the status code of RFC 3463
	KeyReply       = "reply"       // the text of the reply, or the local reason
	KeyNext        = "next"        // when it is tried again
	KeyDuration    = "duration"    // of the attempt; slog's JSON handler writes nanoseconds
	KeyAge         = "age"         // of the message
	KeySize        = "size"        // of the message, in octets
	KeyTenant      = "tenant"      // of the message
	KeyBounce      = "bounce"      // the id of the report
	KeyMetadata    = "metadata"    // a group: what LogOptions.Metadata names
	KeyVerdict     = "verdict"     // of an Error
)

// LogOptions control the records of Log. The zero value is ready to use.
type LogOptions struct {
	// ShortenLocal keeps only the first character of the local parts of addresses, also
	// in replies: "a…@example.org".
	ShortenLocal bool

	// Metadata names the entries of Message.Metadata to write. Default: none.
	Metadata []string

	// MaxText is the maximum number of octets of a text from outside. Default: 300. A
	// text that was cut ends in "…".
	MaxText int

	// Level replaces the level of an event. Default: LevelOf. A Level that returns
	// slog.LevelInfo for Queued also writes a record when a message enters the queue.
	Level func(Event) slog.Level
}

// LevelOf returns the level at which Log writes an event. It is Error if an operator
// must act (LoginRefused, Trouble). It is Warn if mail permanently failed or its
// outcome is unknown (Failed, Expired, UnknownOutcome), if the clock jumped, and for a
// PolicyNotice. It is Debug for Queued: Submit has returned the id, the first attempt
// normally follows at once, and its record repeats the sender, the recipient and the size
// and has the age. Otherwise it is Info.
func LevelOf(e Event) slog.Level {
	switch e.Kind {
	case LoginRefused:
		return slog.LevelError
	case Trouble:
		if e.Err != nil {
			if _, jumped := errors.AsType[*ClockJump](e.Err); jumped {
				return slog.LevelWarn
			}
		}
		return slog.LevelError
	case Failed, Expired, UnknownOutcome, PolicyNotice:
		return slog.LevelWarn
	case Queued:
		return slog.LevelDebug
	default:
		return slog.LevelInfo
	}
}

// Log returns an Events hook that writes each event as one record, such as
//
//	level=INFO msg="mail delivered" event=delivered id=… from=… recipient=… attempt=1 host=…
//
// with those of the keys above that apply. Text from outside is cut, and its control
// characters are escaped, so that no one can forge a record or fill the log. The
// content of mail and secrets are never written.
func Log(l *slog.Logger, o LogOptions) func(context.Context, Event) {
	w := logWriter{o}
	if w.MaxText <= 0 {
		w.MaxText = 300
	}
	return func(ctx context.Context, e Event) {
		level := LevelOf(e)
		if o.Level != nil {
			level = o.Level(e)
		}
		if !l.Enabled(ctx, level) {
			return
		}
		var room [20]slog.Attr
		at := e.Time
		if at.IsZero() {
			at = time.Now()
		}
		// Without the place in the source, which is the same for all and costs time.
		record := slog.NewRecord(at, level, messages[min(e.Kind, eventKinds)], 0)
		record.AddAttrs(w.attrs(room[:0], &e)...)
		_ = l.Handler().Handle(ctx, record) // as slog.Logger itself has it
	}
}

// messages has the messages of log records, by kind of event.
var messages = [eventKinds + 1]string{
	"mail queued", "mail delivered", "mail deferred", "mail unknown", "mail failed", "mail expired", "mail bounced", "mail delayed",
	"mail held", "mail dropped", "login refused", "login accepted", "mail resumed", "mail trouble", "mail suspended", "mail tls", "mail event",
}

// LogValue returns the attributes that Log writes, as a group.
func (e Event) LogValue() slog.Value {
	w := logWriter{LogOptions{MaxText: 300}}
	return slog.GroupValue(w.attrs(nil, &e)...)
}

// LogValue returns the error as a group of stage, host, addr, recipient, code,
// enhanced, reply and verdict, as far as they apply.
func (e *Error) LogValue() slog.Value {
	w := logWriter{LogOptions{MaxText: 300}}
	a := []slog.Attr{slog.String(KeyStage, e.Stage.String())}
	a = w.text(a, KeyHost, e.Host)
	a = appendAddr(a, e.Addr)
	a = w.text(a, KeyRecipient, e.Recipient)
	a = appendCode(a, e.Code)
	a = w.text(a, KeyEnhanced, e.Enhanced)
	if len(e.Lines) > 0 {
		a = w.text(a, KeyReply, e.elsewhere(strings.Join(e.Lines, " ")))
	} else {
		a = w.text(a, KeyReply, e.Reason())
	}
	return slog.GroupValue(append(a, slog.Any(KeyVerdict, e.Verdict))...)
}

// LogValue returns the attempt as a group of host, addr, tls, verdict, next and
// duration, and error if it failed.
func (a Attempt) LogValue() slog.Value {
	w := logWriter{LogOptions{MaxText: 300}}
	list := w.text(nil, KeyHost, a.Host)
	list = appendAddr(list, a.Addr)
	list = append(list, slog.String(KeyTLS, a.TLS.String()), slog.Any(KeyVerdict, a.Verdict), slog.Any(KeyNext, a.Next),
		slog.Duration(KeyDuration, a.Duration))
	if a.Err != nil {
		list = append(list, slog.Any("error", a.Err))
	}
	return slog.GroupValue(list...)
}

// LogValue returns the report as a group with the numbers of recipients that were
// delivered, deferred, failed and unknown, and with error if any was not delivered.
func (r *Report) LogValue() slog.Value {
	var n [queue.Unknown + 1]int
	for i := range r.Recipients {
		n[r.Recipients[i].Outcome&3]++
	}
	var list []slog.Attr
	for _, o := range []queue.Outcome{queue.Delivered, queue.Deferred, queue.Failed, queue.Unknown} {
		if n[o] > 0 {
			list = append(list, slog.Int(o.String(), n[o]))
		}
	}
	if err := r.Err(); err != nil {
		list = append(list, slog.Any("error", err))
	}
	return slog.GroupValue(list...)
}

// LogValue returns the explanation as a group of destination, route and hosts (their
// names), and error if there is no route.
func (e *Explanation) LogValue() slog.Value {
	w := logWriter{LogOptions{MaxText: 300}}
	list := w.text(nil, KeyDestination, e.Domain)
	if e.Err != nil {
		return slog.GroupValue(append(list, slog.Any("error", e.Err))...)
	}
	names := make([]string, len(e.Route.Hosts))
	for i := range e.Route.Hosts {
		names[i] = e.Route.Hosts[i].Name
	}
	list = append(list, slog.Any(KeyRoute, e.Route.Via))
	return slog.GroupValue(w.text(list, "hosts", strings.Join(names, " "))...)
}

// logWriter makes attributes.
type logWriter struct{ LogOptions }

func (w *logWriter) attrs(list []slog.Attr, e *Event) []slog.Attr {
	list = append(list, slog.String(KeyEvent, e.Kind.String()))
	list = w.text(list, KeyID, e.ID)
	if e.ID != "" && e.From == "" && e.Kind != Held && e.Kind != Dropped {
		list = append(list, slog.String(KeyFrom, "<>"))
	}
	list = w.text(list, KeyFrom, w.address(e.From))
	list = w.text(list, KeyRecipient, w.address(e.Recipient))
	if e.Recipient == "" {
		list = w.text(list, KeyDestination, e.Destination)
	}
	if e.Attempt > 0 {
		list = append(list, slog.Int(KeyAttempt, e.Attempt))
	}
	list = w.text(list, KeyHost, e.Host)
	list = appendAddr(list, e.Addr)
	if e.Host != "" && e.Attempt > 0 {
		list = append(list, slog.String(KeyRoute, e.Via.String()))
	}
	if e.Addr.IsValid() {
		list = w.text(list, KeyTLS, e.TLS.String())
	}
	if e.Err != nil {
		list = append(list, slog.String(KeyStage, e.Err.Stage.String()))
	}
	list = appendCode(list, e.Code)
	list = w.text(list, KeyEnhanced, e.Enhanced)
	list = w.text(list, KeyReply, w.inText(e.Err.elsewhere(e.Reply), e.From, e.Recipient))
	if !e.Next.IsZero() {
		list = append(list, slog.Time(KeyNext, e.Next))
	}
	if e.Duration > 0 {
		list = append(list, slog.Duration(KeyDuration, e.Duration.Round(time.Microsecond)))
	}
	if e.Age > 0 {
		list = append(list, slog.Duration(KeyAge, e.Age.Round(time.Millisecond)))
	}
	if e.Size > 0 {
		list = append(list, slog.Int64(KeySize, e.Size))
	}
	list = w.text(list, KeyTenant, e.Tenant)
	list = w.text(list, KeyBounce, e.BounceID)
	return w.metadata(list, e)
}

func (w *logWriter) metadata(list []slog.Attr, e *Event) []slog.Attr {
	var group []slog.Attr
	for _, name := range w.Metadata {
		if value, ok := e.Metadata[name]; ok {
			group = append(group, slog.String(name, w.clean(value)))
		}
	}
	if len(group) == 0 {
		return list
	}
	return append(list, slog.Attr{Key: KeyMetadata, Value: slog.GroupValue(group...)})
}

// text appends a text that is not empty.
func (w *logWriter) text(list []slog.Attr, key, text string) []slog.Attr {
	if text == "" {
		return list
	}
	return append(list, slog.String(key, w.clean(text)))
}

func appendAddr(list []slog.Attr, a netip.AddrPort) []slog.Attr {
	if !a.IsValid() {
		return list
	}
	return append(list, slog.String(KeyAddr, a.String()))
}

func appendCode(list []slog.Attr, code int) []slog.Attr {
	if code == 0 {
		return list
	}
	return append(list, slog.Int(KeyCode, code))
}

// clean is a text of others in a form that is safe to log: short, in one line, and without
// characters that cannot be seen or change how others are seen.
func (w *logWriter) clean(text string) string {
	most, plain := w.MaxText, true
	for i := 0; i < len(text) && plain; i++ {
		plain = text[i] >= ' ' && text[i] < 0x7f
	}
	if plain && len(text) <= most {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		if b.Len() >= most {
			b.WriteString("…")
			break
		}
		switch {
		case r == '\n':
			b.WriteByte(' ') // between the lines of a reply
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(text[i:]); size == 1 {
				fmt.Fprintf(&b, `\x%02x`, text[i])
				continue
			}
			b.WriteRune(r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	return b.String()
}

// address returns an address, with its local part shortened if that is required.
func (w *logWriter) address(a string) string {
	at := strings.LastIndexByte(a, '@')
	if !w.ShortenLocal || at < 0 {
		return a
	}
	return shortened(a[:at]) + a[at:]
}

// shortened is a local part of which the first character is left.
func shortened(local string) string {
	_, n := utf8.DecodeRuneInString(strings.TrimPrefix(local, `"`))
	return strings.TrimPrefix(local, `"`)[:n] + "…"
}

// localPart is what may be the local part of an address in a text.
var localPart = regexp.MustCompile(`("[^"]*"|[^\s<>()\[\]"';:,@]+)@`)

// inText returns a reply in which the local parts of addresses are shortened if that is
// required: those of all text that looks like an address, and those of the message
// itself.
func (w *logWriter) inText(text string, addresses ...string) string {
	if !w.ShortenLocal {
		return text
	}
	text = localPart.ReplaceAllStringFunc(text, func(s string) string { return shortened(s[:len(s)-1]) + "@" })
	for _, a := range addresses {
		if at := strings.LastIndexByte(a, '@'); at > 2 {
			text = replaceFold(text, a[:at], shortened(a[:at]))
		}
	}
	return text
}

// replaceFold is a text with another in place of each part that is old in upper or lower
// case.
func replaceFold(text, old, by string) string {
	low := strings.ToLower(text)
	if len(low) != len(text) {
		return strings.ReplaceAll(text, old, by)
	}
	old = strings.ToLower(old)
	var b strings.Builder
	for {
		i := strings.Index(low, old)
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:i])
		b.WriteString(by)
		text, low = text[i+len(old):], low[i+len(old):]
	}
}

// Hooks returns an Events hook that calls several hooks in order.
func Hooks(hooks ...func(context.Context, Event)) func(context.Context, Event) {
	return func(ctx context.Context, e Event) {
		for _, hook := range hooks {
			hook(ctx, e)
		}
	}
}
