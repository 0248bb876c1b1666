package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
	r, inside := w.relayOn(t, `mount -t tmpfs -o size=8m tmpfs "$0" && head -c 4000000 /dev/zero > "$0/ballast"`)
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

// relayOn starts a relay whose queue is a file system of its own, which a shell
// mounts on $0 where nobody else sees it. It returns where others find the queue.
func (w *world) relayOn(t *testing.T, mount string) (r *process, inside string) {
	t.Helper()
	dir := t.TempDir()
	c := command("-listen", "127.0.0.1:0", "-dns", w.dns.Addr(), "-port", w.port, "-loopback",
		"-helo", "relay.example.net", "-queue", dir, "-retry", "100ms")
	c.Args = append([]string{"sh", "-c", "mount --make-rprivate / && " + mount + ` && exec "$@"`, dir}, c.Args...)
	c.Path = "/bin/sh"
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		c.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
	}
	r = &process{t: t}
	r.launch(c)
	return r, filepath.Join("/proc", strconv.Itoa(r.Process.Pid), "root", dir)
}

// TestFullDiskDrains fills a small file system to the last byte that the relay takes
// while the mail host is away, and lets that come back without giving any room: each
// message arrives once, and mail is taken again.
func TestFullDiskDrains(t *testing.T) {
	kinds := map[string]string{"tmpfs": `mount -t tmpfs -o size=24m tmpfs "$0"`}
	if canLoop() {
		kinds["ext4"] = `truncate -s 24M "$0.img" && mkfs.ext4 -q -F "$0.img" && ` +
			`mount -o loop "$0.img" "$0" && rm "$0.img" && rm -rf "$0/lost+found"`
	}
	for name, mount := range kinds {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, zone)
			r, inside := w.relayOn(t, mount)
			var accepted atomic.Int64
			text := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 150)
			var clients sync.WaitGroup
			for range 4 {
				client := &delivery.Sender{Hello: "client.example.org", Router: handOver(r.addr), TLS: mx.TLSNone}
				t.Cleanup(func() { client.Close() })
				clients.Go(func() {
					for refused := 0; refused < 3; {
						report, err := submit(t, client, "mail\r\n\r\n"+text, "b@example.com")
						if err == nil {
							accepted.Add(1)
							continue
						}
						refused++
						if reply := report.Recipients[0].Reply; reply.Code != 452 || reply.Enhanced != "4.3.1" {
							t.Errorf("no room, and the answer is %+v, want 452 4.3.1", reply)
						}
					}
				})
			}
			clients.Wait()
			if accepted.Load() < 300 {
				t.Fatalf("%d messages were taken: there was no room from the beginning", accepted.Load())
			}
			com := modern("mail.example.com")
			w.start("127.0.0.2", com)
			if out, errs, code := queueCommand(inside, "flush"); code != 0 {
				t.Errorf("flush: %d %s %s", code, out, errs)
			}
			eventually(t, "all that was answered 250 arrives", func() bool { return len(com.Messages()) >= int(accepted.Load()) })
			client := r.client("127.0.0.1")
			eventually(t, "mail is taken again", func() bool {
				_, err := submit(t, client, "again", "b@example.com")
				return err == nil
			})
			eventually(t, "it arrives", func() bool { return len(com.Messages()) > int(accepted.Load()) })
			r.stop()
			if n := len(com.Messages()); n != int(accepted.Load())+1 {
				t.Errorf("%d messages arrived, %d were answered 250", n, accepted.Load()+1)
			}
			t.Logf("%d messages", accepted.Load())
		})
	}
}

// canLoop reports whether files can be mounted.
func canLoop() bool {
	_, noTool := exec.LookPath("mkfs.ext4")
	_, noLoop := os.Stat("/dev/loop-control")
	return os.Getuid() == 0 && noTool == nil && noLoop == nil
}
