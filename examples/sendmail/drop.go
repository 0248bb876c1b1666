//go:build unix

package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

// The maildrop is a directory of the runner with mode 3733. All users may add files to
// it, but only the runner may list it. Files belong to their owners, and the sticky bit
// prevents everyone except the owner and the runner from removing or replacing them.
// The set-group-id bit gives them the group of the runner, which may read them, and of
// which only the runner is a member. So the owner of a file, whom the kernel knows, is
// the submitter, and neither this program nor the runner needs a privilege.
const dropMode = fs.ModeSticky | fs.ModeSetgid | 0o733

// unfinished begins the names of files that are being written.
const unfinished = ".new-"

// drop puts a message into the maildrop. It returns when it would survive a power cut.
func drop(c *config, message io.Reader) (err error) {
	dir := c.maildrop()
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return temporary(fmt.Errorf("%w, and the maildrop cannot be used: %w", errNoRunner, err))
	} else if err != nil {
		return temporary(err)
	}
	name := strconv.FormatInt(time.Now().UnixMicro(), 36) + "-" + rand.Text()
	f, err := os.OpenFile(filepath.Join(dir, unfinished+name), os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return temporary(err)
	}
	defer func() {
		_ = f.Close()
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = io.Copy(f, message); err == nil {
		err = share(f, info)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return temporary(err)
	}
	if err := syncAll(f); err != nil { // it is there, and goes out; who asks has to know that it may not
		return temporary(err)
	}
	return nil
}

// share lets the runner's group read a file, if it has that group. Else only root's runner
// can take it.
func share(f *os.File, dir fs.FileInfo) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	of, ok := info.Sys().(*syscall.Stat_t)
	in, known := dir.Sys().(*syscall.Stat_t)
	if !ok || !known || of.Gid != in.Gid || dir.Mode()&fs.ModeSetgid == 0 {
		return nil
	}
	return f.Chmod(0o640)
}

// makeDirectories creates the runner's directories, and checks that the maildrop has
// the right access for others.
func makeDirectories(c *config) error {
	for _, d := range []struct {
		name string
		mode fs.FileMode
	}{{c.state, 0o711}, {c.rejected(), 0o700}, {c.maildrop(), dropMode}} {
		if _, err := os.Stat(d.name); err == nil {
			continue
		}
		if err := errors.Join(os.MkdirAll(d.name, 0o700), os.Chmod(d.name, d.mode)); err != nil {
			return cli.Config("%w", err)
		}
	}
	info, err := os.Lstat(c.maildrop())
	if err != nil {
		return cli.Config("%w", err)
	}
	if got := info.Mode() & (fs.ModePerm | fs.ModeSticky | fs.ModeSetgid); got != dropMode || !info.IsDir() {
		return cli.Config("%s has the mode %v; it has to be %v (chmod 3733)", c.maildrop(), got, dropMode)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() && os.Geteuid() != 0 {
		return cli.Config("%s belongs to the user with the id %d; it has to be the runner's", c.maildrop(), owner.Uid)
	}
	return nil
}
