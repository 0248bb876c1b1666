package tlsrpt

import (
	"fmt"
	"time"
)

// Day is a day of UTC, which a report covers from midnight to midnight (RFC 8460 section
// 4.1). It counts the days since 1 January 1970.
type Day int

const secondsOfDay = 24 * 60 * 60

// DayOf is the day of a time.
func DayOf(t time.Time) Day {
	seconds := t.Unix()
	day := seconds / secondsOfDay
	if seconds%secondsOfDay < 0 {
		day--
	}
	return Day(day)
}

// ParseDay is the day of a text like 2006-01-02.
func ParseDay(text string) (Day, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0, fmt.Errorf("%q is no day like 2006-01-02", text)
	}
	return DayOf(t), nil
}

// Start is the first second of the day, and End its last, as reports have it.
func (d Day) Start() time.Time { return time.Unix(int64(d)*secondsOfDay, 0).UTC() }

// End is the last second of the day.
func (d Day) End() time.Time { return (d + 1).Start().Add(-time.Second) }

// MarshalText is String, for JSON.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDay.
func (d *Day) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDay(string(text))
	return err
}

// String is the day like 2006-01-02.
func (d Day) String() string { return d.Start().Format(time.DateOnly) }
