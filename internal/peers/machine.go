//go:build linux

package peers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Machine is a machine whose first process is systemd, with the programs and
// files of its Server. It shares the network of the test;
// everything else is its own. Of the units, only the journal starts by itself; the test starts
// others. The Server has no Command.
type Machine struct {
	Server
}

// boot makes the file tree in $1 the root of the namespaces, as a container has it, and
// becomes systemd in the control group $2. It runs as the first process. A container's
// mounts are to be shared: systemd passes credentials to services that way.
const boot = `
cd "$1"
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
umount -l dev proc
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do touch dev/$node; mount --bind /dev/$node dev/$node; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
echo $$ >"$2/cgroup.procs"
exec unshare --cgroup sh -euc '
	mount -t cgroup2 cgroup2 sys/fs/cgroup
	mkdir -p mnt/old
	pivot_root . mnt/old
	umount -l /mnt/old
	mount --make-rshared /
	exec env -i container=peers PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --log-target=journal --show-status=no </dev/null'
`

// bare leaves of the units that start by themselves only the journal, and of the users
// those of the Server.
const bare = `
rm -rf /lib/systemd/system/*.wants /etc/systemd/system/*.wants /etc/rc?.d /etc/fstab /lib/systemd/system-generators
mkdir -p /etc/systemd/system/sysinit.target.wants
ln -sf /lib/systemd/system/multi-user.target /etc/systemd/system/default.target
ln -s /lib/systemd/system/systemd-journald.service /etc/systemd/system/sysinit.target.wants/
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
rm -f /etc/shadow /etc/gshadow
pwconv
grpconv
`

// Boot starts the machine and waits until systemd has started. It ends with the test.
func (m *Machine) Boot(t testing.TB) {
	t.Helper()
	m.Before = append(m.Before, []string{"/bin/sh", "-euc", bare})
	m.Unpack(t)
	group := controlGroup(t)
	m.cmd = exec.Command("/bin/sh", "-euc", boot, "sh", m.Path("/"), group)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	m.cmd.Stdout, m.cmd.Stderr = &m.log, &m.log
	if err := m.cmd.Start(); err != nil {
		t.Fatalf("peers: systemd: %v", err)
	}
	m.done = make(chan struct{})
	go func() {
		defer close(m.done)
		_ = m.cmd.Wait() // how it ended is in its log
	}()
	t.Cleanup(m.Stop)
	t.Cleanup(func() {
		if t.Failed() {
			journal, _ := m.Run(context.Background(), "journalctl", "--no-pager", "--boot", "--output=short-monotonic")
			t.Logf("the machine's journal:\n%s%s", m.log.String(), journal)
		}
	})
	Eventually(t, "systemd to have started", func() bool {
		out, _ := m.Run(t.Context(), "systemctl", "is-system-running")
		state := strings.TrimSpace(out)
		return state == "running" || state == "degraded"
	})
}

// Run runs a program on the machine, as root, and returns what it has printed.
func (m *Machine) Run(ctx context.Context, args ...string) (string, error) {
	enter := []string{"--target", strconv.Itoa(m.cmd.Process.Pid), "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--"}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// controlGroup makes a control group for the test, and removes it in the end.
func controlGroup(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("cgroup2", dir, "cgroup2", 0, ""); err != nil {
		t.Fatalf("peers: mounting cgroup2: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	group, err := os.MkdirTemp(dir, "nexthop-peers-") //nolint:usetesting // a group is no directory to be emptied
	if err != nil {
		t.Fatalf("peers: making a control group: %v", err)
	}
	t.Cleanup(func() {
		Eventually(t, "the control group to be empty", func() bool { return removeGroup(group) == nil })
	})
	return group
}

// removeGroup removes a control group with those in it.
func removeGroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeGroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := syscall.Rmdir(dir); err != nil {
		return fmt.Errorf("removing %s: %w", dir, err)
	}
	return nil
}
