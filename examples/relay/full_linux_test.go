package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/mx"
)

// TestDiskFull lets mail pile up on a file system of 8 MiB of the relay's own until
// there is no room. The relay answers 452 then, takes mail again when there is room,
// and delivers all that it has answered 250.
func TestDiskFull(t *testing.T) {
	w := newWorld(t, zone)
	dir := t.TempDir()
	c := command("-listen", "127.0.0.1:0", "-dns", w.dns.Addr(), "-port", w.port, "-loopback",
		"-helo", "relay.example.net", "-queue", dir, "-retry", "100ms")
	c.Args = append([]string{"sh", "-c", `mount -t tmpfs -o size=8m tmpfs "$0" && head -c 4000000 /dev/zero > "$0/ballast" && exec "$@"`, dir}, c.Args...)
	c.Path = "/bin/sh"
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	r := &process{t: t}
	r.launch(c)
	inside := filepath.Join("/proc", strconv.Itoa(r.Process.Pid), "root", dir)
	client := &delivery.Sender{Hello: "client.example.org", Router: handOver(r.addr), TLS: mx.TLSNone}
	defer client.Close()
	accepted, large := 0, strings.Repeat(strings.Repeat("x", 70)+"\r\n", 2000)
	fill := func() {
		t.Helper()
		for range 100 {
			report, err := submit(t, client, "mail\r\n\r\n"+large, "b@example.com")
			if err == nil {
				accepted++
				continue
			}
			if reply := report.Recipients[0].Reply; reply.Code != 452 || reply.Enhanced != "4.3.1" {
				t.Fatalf("no room, and the answer is %+v, want 452 4.3.1", reply)
			}
			return
		}
		t.Fatalf("%d messages went in, and there is still room", accepted)
	}
	fill()
	before := accepted
	if before == 0 {
		t.Fatal("there was no room from the beginning")
	}
	if _, err := submit(t, client, large+large+large, "b@example.com"); err == nil { // one that needs a file
		accepted++
	}
	if err := os.Remove(filepath.Join(inside, "ballast")); err != nil {
		t.Fatal(err)
	}
	fill()
	if accepted <= before {
		t.Error("nothing went in after there was room again")
	}
	com := modern("mail.example.com")
	w.start("127.0.0.2", com)
	if out, errs, code := queueCommand(inside, "flush"); code != 0 {
		t.Errorf("flush: %d %s %s", code, out, errs)
	}
	eventually(t, "all that was answered 250 arrives", func() bool { return len(com.Messages()) >= accepted })
	t.Logf("%d messages before the disk was full, %d with more room", before, accepted-before)
	r.stop()
	if n := len(com.Messages()); n != accepted {
		t.Errorf("%d messages arrived, %d were answered 250", n, accepted)
	}
}
