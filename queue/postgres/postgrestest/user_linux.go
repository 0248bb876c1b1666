package postgrestest

import (
	"os"
	"os/exec"
	"syscall"
)

// nobody is the user id that root has inside, one that every machine knows a name of.
const nobody = 65534

// isolate has a program run as somebody else than root, and end with the thread that
// starts it. If it is a server, it is the first process of a namespace, so that all of its
// processes end with it.
func isolate(cmd *exec.Cmd, server bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		return
	}
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Geteuid(), Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getegid(), Size: 1}}
	if server {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWPID
	}
}
