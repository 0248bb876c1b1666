package main

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is the time of CLOCK_MONOTONIC in microseconds, as systemd wants it.
func monotonic() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // never fails
	return strconv.FormatInt(now.Nano()/int64(time.Microsecond), 10)
}
