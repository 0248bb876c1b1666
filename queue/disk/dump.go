package disk

import (
	"errors"
	"fmt"
	"io"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/keys"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// Dump writes every record in a spool's directory to w, one per line, in the order of the
// log: file, offset, length, flags and fields. Contents are left out. It changes nothing.
// Damage is shown at its place.
//
// Errors: ErrLocked while the spool is open, ErrNoLock, the file system's, or w's.
func Dump(dir string, w io.Writer) error { return dump(vfs.OS(dir), w) }

func dump(fs vfs.FS, w io.Writer) error {
	lock, err := takeLock(fs, false)
	if err != nil {
		return err
	}
	defer lock.Close()
	list, err := fs.List()
	if err != nil {
		return err
	}
	for _, f := range list {
		for prefix, kind := range map[string]record.FileKind{
			segmentPrefix: record.SegmentFile, checkpointPrefix: record.CheckpointFile, contentPrefix: record.ContentFile,
			keysPrefix: record.KeysFile, suspendedPrefix: record.SuspendedFile, outcomesPrefix: record.OutcomesFile,
		} {
			if _, ok := numberOf(f.Name, prefix); !ok {
				continue
			}
			if err := dumpFile(fs, f, kind, w); err != nil {
				return err
			}
		}
	}
	return nil
}

func dumpFile(fs vfs.FS, info vfs.Info, kind record.FileKind, w io.Writer) error {
	f, err := fs.Open(info.Name, false)
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := record.ReadHeader(f, kind)
	if err != nil {
		_, err = fmt.Fprintf(w, "%s: %v\n", info.Name, err)
		return err
	}
	if _, err := fmt.Fprintf(w, "%s: number %d, salt %016x, %d bytes\n", info.Name, h.Number, h.Salt, info.Size); err != nil {
		return err
	}
	d := &dumper{w: w, name: info.Name}
	groups := record.NewGroups(f, info.Size, h.Salt, record.HeaderSize)
	for groups.Next() {
		d.gaps(groups.Gaps(), groups.From())
		d.group(groups)
	}
	d.gaps(groups.Gaps(), info.Size)
	return errors.Join(d.err, groups.Err())
}

// dumper writes the lines of one file.
type dumper struct {
	w     io.Writer
	name  string
	shown int // gaps so far
	err   error
}

func (d *dumper) line(off int64, format string, args ...any) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.w, "%s %d%s\n", d.name, off, fmt.Sprintf(format, args...))
	}
}

// gaps shows those before an offset that were not shown yet.
func (d *dumper) gaps(list []record.Gap, before int64) {
	for ; d.shown < len(list) && list[d.shown].From < before; d.shown++ {
		g := list[d.shown]
		if g.Err != nil {
			d.line(g.From, ": no record in %d bytes: %v", g.To-g.From, g.Err)
		} else {
			d.line(g.From, ": no record in %d bytes", g.To-g.From)
		}
	}
}

// group shows the frames of a group, and of one that is not whole that it is not.
func (d *dumper) group(groups *record.Groups) {
	part := ""
	if !groups.Whole() {
		part = " (part of a group)"
	}
	for _, f := range groups.Frames() {
		d.line(f.From, " +%d %s %s%s", f.To-f.From, flags(f.Flags), describeRecord(&f.Frame), part)
	}
}

func flags(f record.Flags) string {
	b := []byte("--")
	if f&record.First != 0 {
		b[0] = 'f'
	}
	if f&record.Last != 0 {
		b[1] = 'l'
	}
	return string(b)
}

// describeRecord is what a record says, in one line.
func describeRecord(f *record.Frame) string {
	var v any
	var err error
	name := "unknown"
	switch f.Kind {
	case record.KindMessage:
		name = "message"
		v, err = record.ParseMessage(f.Head)
	case record.KindDelivery:
		name = "delivery"
		v, err = record.ParseDelivery(f.Head)
	case record.KindGone:
		name = "gone"
		v, err = record.ParseGone(f.Head)
	case record.KindDestination:
		name = "destination"
		v, err = record.ParseDestination(f.Head)
	case record.KindSegments:
		name = "segments"
		v, err = record.ParseSegments(f.Head)
	case record.KindRetired:
		name = "retired"
		v, err = record.ParseRetired(f.Head)
	case record.KindFlush:
		name = "flush"
		v, err = record.ParseFlush(f.Head)
	case record.KindBlock:
		return "block"
	case record.KindSaved:
		return fmt.Sprintf("saved %d", f.Mark)
	case record.KindKeys:
		return fmt.Sprintf("keys of %d messages that have left", len(f.Head)/keys.EntrySize)
	case record.KindSuspension:
		name = "suspension"
		v, err = record.ParseSuspension(f.Head)
	case record.KindOutcomes:
		name = "outcomes"
		v, err = record.ParseOutcomes(f.Head)
	case record.KindBefore:
		name = "before"
		v, err = record.ParseBefore(f.Head)
	case record.KindFill:
		return "fill"
	case record.KindTable:
		var t *record.Table
		if t, err = record.ParseTable(f.Head); err == nil {
			return fmt.Sprintf("table from %v: %d rows, %d destinations, %d segments, last %v",
				t.From, len(t.Rows), len(t.Destinations), len(t.Slots), t.Last)
		}
		name = "table"
	}
	if err != nil {
		return fmt.Sprintf("%s: %v", name, err)
	}
	return fmt.Sprintf("%s %+q", name, fmt.Sprintf("%+v", v))
}
