//go:build linux

package peers_test

import (
	"bytes"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// image is what a Containerfile of two stages makes: files, and how they are run. The
// first stage, which has the repository and Go, is this machine.
type image struct {
	dir     string // its file system
	env     []string
	user    string
	volume  string
	command string
}

// instruction is a line of a Containerfile.
var instruction = regexp.MustCompile(`(?m)^([A-Z]+) (.*)$`)

func buildImage(t *testing.T, file string) *image {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(base, "out")
	i := &image{dir: filepath.Join(base, "image")}
	shell := func(script string, args ...string) {
		t.Helper()
		cmd := exec.Command("sh", append([]string{"-euc", script, "sh"}, args...)...)
		cmd.Dir = "../.."
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", script, args, err, said)
		}
	}
	shell(`mkdir -p "$1" "$2"`, out, i.dir)
	for _, m := range instruction.FindAllStringSubmatch(strings.ReplaceAll(string(text), "\\\n", " "), -1) {
		words := strings.Fields(m[2])
		switch m[1] {
		case "RUN":
			shell(strings.ReplaceAll(m[2], "/out", out))
		case "COPY":
			if words[0] != "--from=build" {
				continue // the repository
			}
			owner := "0:0"
			if user, ok := strings.CutPrefix(words[1], "--chown="); ok {
				owner, words = user, words[1:]
			}
			from := words[1]
			if rest, ok := strings.CutPrefix(from, "/out/"); ok {
				from = filepath.Join(out, rest)
			}
			to := i.dir + words[2]
			if info, err := os.Stat(from); err == nil && !info.IsDir() && strings.HasSuffix(to, "/") {
				to += filepath.Base(from)
			}
			shell(`mkdir -p "$(dirname "$2")"
				if [ -d "$1" ]; then
					for f in "$1"/*; do cp -RL --preserve=mode "$f" "$2"; chown -R "$3" "$2/$(basename "$f")"; done
				else
					cp -L --preserve=mode "$1" "$2"; chown "$3" "$2"
				fi`, from, to, owner)
		case "ENV":
			i.env = append(i.env, words...)
		case "USER":
			i.user = m[2]
		case "VOLUME":
			i.volume = m[2]
		case "ENTRYPOINT":
			i.command = strings.Trim(m[2], `[]"`)
		}
	}
	return i
}

// contain is what runs an image, which is $1, as user $2 with the volume $3: its file system
// cannot be written but for the volume, which begins as it is in the image, and /tmp. The
// program is the first process.
const contain = `
mount --bind "$1" "$1"
for writable in "$3" /tmp; do
	mount -t tmpfs -o "$(stat --format=mode=%a,uid=%u,gid=%g "$1$writable")" tmpfs "$1$writable"
done
mount -o remount,bind,ro "$1"
cd "$1"
user=$2
shift 3
exec chroot --userspec="$user" --groups= . "$@"`

// container is an image that runs.
type container struct {
	*exec.Cmd
	log bytes.Buffer
	end func() int // SIGTERM; returns the exit code
}

func (i *image) start(t *testing.T, env ...string) *container {
	t.Helper()
	c := &container{Cmd: exec.Command("sh", "-euc", contain, "sh", i.dir, i.user, i.volume, i.command)}
	c.Env = append(append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, i.env...), env...)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS, Pdeathsig: syscall.SIGKILL}
	c.Stdout, c.Stderr = &c.log, &c.log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	c.end = sync.OnceValue(func() int {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
		return c.ProcessState.ExitCode()
	})
	t.Cleanup(func() {
		c.end()
		if t.Failed() {
			t.Logf("the container's log:\n%s", c.log.String())
		}
	})
	return c
}

// TestRelayInContainer runs what the Containerfile of examples/relay builds, as a container
// is run: as its user, as the first process, with nothing to write to but its volume and
// /tmp. It finds the authorities, keeps content that does not fit in memory, and ends.
func TestRelayInContainer(t *testing.T) {
	authority, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	hop := &smtptest.Host{Name: "hop.e.test", Authority: authority, ImplicitTLS: true}
	serve(t, "127.0.2.1:465", hop)
	dns := &mxtest.Server{Listen: "127.0.0.1:53", DNS: &mxtest.DNS{Zone: "hop.e.test. A 127.0.2.1\n"}}
	if err := dns.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dns.Close() })
	i := buildImage(t, "../../examples/relay/Containerfile")
	// What a runtime puts there, and an authority beside those of the image.
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Root().Raw})
	roots, err := os.OpenFile(filepath.Join(i.dir, "etc/ssl/certs/ca-certificates.crt"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := roots.Write(root); err != nil {
		t.Fatal(err)
	}
	if err := roots.Close(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"resolv.conf": "nameserver 127.0.0.1\n", "hosts": "127.0.0.1 localhost\n"} {
		if err := os.WriteFile(filepath.Join(i.dir, "etc", name), []byte(text), 0o644); err != nil { //nolint:gosec // everybody reads it
			t.Fatal(err)
		}
	}
	var state syscall.Stat_t
	if err := syscall.Stat(i.dir+i.volume, &state); err != nil || state.Uid != 65532 || state.Mode&0o777 != 0o700 {
		t.Errorf("the volume has owner %d and mode %o (%v)", state.Uid, state.Mode&0o777, err)
	}
	for _, queue := range []string{i.volume, "memory"} {
		t.Run(queue, func(t *testing.T) {
			c := i.start(t, "NEXTHOP_QUEUE="+queue, "NEXTHOP_HELO=relay.e.test", "NEXTHOP_LOOPBACK=true", "NEXTHOP_RELAY_DOMAIN=e.test",
				"NEXTHOP_TRUST=192.0.2.1", "NEXTHOP_SMARTHOST=smtps://hop.e.test?tls=verify")
			before := len(hop.Messages())
			var reply string
			peers.Eventually(t, "an answer", func() bool {
				reply, err = converseAt("127.0.0.1:2525", queue, strings.Repeat(strings.Repeat("text ", 12)+"\r\n", 300_000)) // more than fits in memory
				return err == nil
			})
			if !strings.HasPrefix(reply, "250") {
				t.Errorf("it says %q", reply)
			}
			peers.Eventually(t, "the message at the smart host", func() bool { return len(hop.Messages()) == before+1 })
			began := time.Now()
			if code := c.end(); code != 0 || time.Since(began) > 30*time.Second {
				t.Errorf("at SIGTERM it ends with %d after %v", code, time.Since(began))
			}
		})
	}
	hop.Check(t)
}
