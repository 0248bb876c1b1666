package disk

import (
	"syscall"
	"time"
	"unsafe"
)

// threadTime is the processor time of the thread that asks, and which that is.
func threadTime() (used time.Duration, thread int) {
	const clockThread = 3 // CLOCK_THREAD_CPUTIME_ID
	var t syscall.Timespec
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockThread, uintptr(unsafe.Pointer(&t)), 0)
	return time.Duration(t.Nano()), syscall.Gettid()
}
