package tlsrpt

import (
	"fmt"
	"time"
)

// Day is a day in UTC, which a report covers from midnight to midnight (RFC 8460
// section 4.1). It is the number of days since 1 January 1970.
type Day int

const secondsOfDay = 24 * 60 * 60

// DayOf returns the day that a time is in.
func DayOf(t time.Time) Day {
	seconds := t.Unix()
	day := seconds / secondsOfDay
	if seconds%secondsOfDay < 0 {
		day--
	}
	return Day(day)
}

// ParseDay parses a day like 2006-01-02.
func ParseDay(text string) (Day, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a date such as 2006-01-02", text)
	}
	return DayOf(t), nil
}

// Start returns the first second of the day.
func (d Day) Start() time.Time { return time.Unix(int64(d)*secondsOfDay, 0).UTC() }

// End returns the last second of the day, as reports have it.
func (d Day) End() time.Time { return (d + 1).Start().Add(-time.Second) }

// MarshalText returns the same text as String, for JSON.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the same texts as ParseDay.
func (d *Day) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDay(string(text))
	return err
}

// String returns the day in the form 2006-01-02.
func (d Day) String() string { return d.Start().Format(time.DateOnly) }
