package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// List is a flag that may be given several times.
type List []string

// String is the values with blanks between them.
func (l *List) String() string { return strings.Join(*l, " ") }

// Set adds a value.
func (l *List) Set(v string) error { *l = append(*l, v); return nil }

// Duration is a flag like flag.Duration that knows days, too: 5d, 1d12h.
type Duration time.Duration

// String is the duration in whole days, or as time.Duration has it but without zero
// minutes and seconds at the end: 5d, 4h, 1h30m.
func (d *Duration) String() string {
	const day = 24 * time.Hour
	v := time.Duration(*d)
	text := v.String()
	switch {
	case v != 0 && v%day == 0:
		return strconv.FormatInt(int64(v/day), 10) + "d"
	case v != 0 && v%time.Hour == 0:
		return strings.TrimSuffix(text, "0m0s")
	case v != 0 && v%time.Minute == 0:
		return strings.TrimSuffix(text, "0s")
	}
	return text
}

// Set parses a duration.
func (d *Duration) Set(v string) error {
	parsed, err := ParseDuration(v)
	*d = Duration(parsed)
	return err
}

var errDuration = errors.New("want a duration such as 30s, 4h or 5d")

// ParseDuration is like time.ParseDuration, but also accepts days before the other
// units, and no negative values.
func ParseDuration(s string) (time.Duration, error) {
	var days float64
	if before, after, ok := strings.Cut(s, "d"); ok {
		var err error
		if days, err = strconv.ParseFloat(before, 64); err != nil || math.IsNaN(days) {
			return 0, errDuration
		}
		if s = after; s == "" {
			s = "0"
		}
	}
	rest, err := time.ParseDuration(s)
	if err != nil || rest < 0 || days < 0 || days > 100_000 {
		return 0, errDuration
	}
	return time.Duration(days*24*float64(time.Hour)) + rest, nil
}

// Parse parses a command line. Asking for help is an error with the exit code 0;
// what the flag package finds wrong it has printed already.
func Parse(fs *flag.FlagSet, args []string, stderr io.Writer, usage string) error {
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintf(stderr, "usage: %s\n", usage)
		fs.PrintDefaults()
	}
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return &Error{Code: ExitOK}
	}
	return err
}

// Mailbox is an address of a command line without the angle brackets of a path, which
// people and programs add.
func Mailbox(argument string) string {
	if inner, ok := strings.CutPrefix(argument, "<"); ok {
		return strings.TrimSuffix(inner, ">")
	}
	return argument
}
