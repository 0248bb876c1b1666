//go:build linux

package peers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"unsafe"
)

// inside is set in the environment of the test binary that runs in namespaces
// of its own.
const inside = "NEXTHOP_PEERS_INSIDE"

// Main runs the tests of m in new mount, network and process namespaces, and
// returns the exit code. before, if not nil, runs outside of them first; what it
// returns is added to the environment.
func Main(m *testing.M, before func() ([]string, error)) int {
	if os.Getenv(inside) != "" {
		if err := enter(); err != nil {
			fmt.Fprintln(os.Stderr, "peers:", err)
			return 1
		}
		return m.Run()
	}
	code, err := again(before)
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
	}
	return code
}

// again runs this program once more, inside.
func again(before func() ([]string, error)) (int, error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("real servers need root: namespaces, and port 25")
	}
	env := append(os.Environ(), inside+"=1")
	if before != nil {
		more, err := before()
		if err != nil {
			return 1, err
		}
		env = append(env, more...)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdin, os.Stdout, os.Stderr, env
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// enter makes the new namespaces usable: mounts stay inside, /proc shows the
// processes inside, which all end with this one, and loopback is up.
func enter() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	return loopbackUp()
}

// loopbackUp is "ip link set lo up", which a small machine may not have.
func loopbackUp() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	var request struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], "lo")
	request.flags = syscall.IFF_UP | syscall.IFF_RUNNING
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return fmt.Errorf("bringing up loopback: %w", errno)
	}
	return nil
}
