package main

// switchSource is the file that is added to each package that is broken: it knows
// which mutant is active. Its names begin with zz so that they are nobody else's.
const switchSource = `package mutated

import (
	"cmp"
	"os"
	"strconv"
	"sync/atomic"
)

const zzMutants = 0

var (
	zzActive, _ = strconv.Atoi(os.Getenv("NEXTHOP_MUTANT"))
	zzLog       = os.Getenv("NEXTHOP_MUTANT_LOG")
	zzSeen      [zzMutants + 1]atomic.Bool
)

// zzOn reports whether the mutant of that number is active, and logs that it was reached.
func zzOn(number int) bool {
	if zzLog != "" {
		if !zzSeen[number].Load() && !zzSeen[number].Swap(true) {
			if f, err := os.OpenFile(zzLog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
				f.WriteString(strconv.Itoa(number) + "\n")
				f.Close()
			}
		}
	}
	return zzActive == number
}

// The functions below ask zzOn only where the break makes a difference: a test that
// never comes by such a place cannot notice it, and is not one that reaches it.

func zzTrue[T ~bool](number int, is T) T {
	return is || T(zzOn(number))
}
func zzFalse[T ~bool](number int, is T) T {
	return is && !T(zzOn(number))
}
func zzNot[T ~bool](number int, is T) T {
	return is != T(zzOn(number))
}

func zzLess[T cmp.Ordered](number int, a, b T) bool         { return a < b || a == b && zzOn(number) }
func zzLessEqual[T cmp.Ordered](number int, a, b T) bool    { return a < b || a == b && !zzOn(number) }
func zzGreater[T cmp.Ordered](number int, a, b T) bool      { return a > b || a == b && zzOn(number) }
func zzGreaterEqual[T cmp.Ordered](number int, a, b T) bool { return a > b || a == b && !zzOn(number) }

type zzNumber interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr | ~float32 | ~float64
}

func zzAdd[T zzNumber](number int, a, b T) T {
	if b != 0 && zzOn(number) {
		return a - b
	}
	return a + b
}

func zzSub[T zzNumber](number int, a, b T) T {
	if b != 0 && zzOn(number) {
		return a + b
	}
	return a - b
}
`
