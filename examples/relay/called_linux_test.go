package main

import (
	"fmt"
	"os"
	"syscall"
)

// becomeCalled gives the machine, which is a namespace of the test's, another name and
// becomes the program in the arguments, if a test has started this binary for that.
func becomeCalled() {
	name := os.Getenv("RELAY_TEST_CALLED")
	if name == "" {
		return
	}
	err := syscall.Sethostname([]byte(name))
	if err == nil {
		err = syscall.Exec(os.Args[2], os.Args[2:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
