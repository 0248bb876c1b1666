//go:build linux

package peers

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The users a server asks for get ids from here on, in the order they are named.
const firstID = 6100

// build makes the server's file tree: its package and its files over the
// machine's own. All of it lies in memory and goes with the namespace.
func (s *Server) build(dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mounting tmpfs: %w", err)
	}
	sub := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"up", "work", "root"} {
		if err := os.Mkdir(sub(name), 0o755); err != nil {
			return err
		}
	}
	layers := "/"
	for i, name := range slices.Backward(s.packages()) {
		pkg, err := packageDir(name)
		if err != nil {
			return err
		}
		// An overlay's layers must not lie in one another: the package, which lies
		// in the machine's file system, is copied out of it.
		layer := sub("pkg" + strconv.Itoa(i))
		if out, err := exec.Command("cp", "-a", pkg, layer).CombinedOutput(); err != nil {
			return fmt.Errorf("copying the package: %w: %s", err, out)
		}
		layers = layer + ":" + layers
	}
	options := "lowerdir=" + layers + ",upperdir=" + sub("up") + ",workdir=" + sub("work")
	s.root = sub("root")
	if err := syscall.Mount("overlay", s.root, "overlay", 0, options); err != nil {
		return fmt.Errorf("mounting the overlay: %w", err)
	}
	for _, name := range []string{"dev", "proc"} {
		if err := syscall.Mount("/"+name, filepath.Join(s.root, name), "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
			return fmt.Errorf("binding /%s: %w", name, err)
		}
	}
	for path, folder := range s.Mounts {
		if !filepath.IsAbs(folder) {
			var err error
			if folder, err = packageDir(folder); err != nil {
				return err
			}
		}
		if err := os.MkdirAll(s.Path(path), 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(folder, s.Path(path), "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("binding %s: %w", folder, err)
		}
	}
	return s.populate()
}

// packages are those of the server, the first above the others.
func (s *Server) packages() []string {
	if s.Package == "" {
		return nil
	}
	return append([]string{s.Package}, s.More...)
}

// populate writes users, directories and files.
func (s *Server) populate() error {
	ids, err := s.addUsers()
	if err != nil {
		return err
	}
	for path, dir := range s.Dirs {
		if err := os.MkdirAll(s.Path(path), 0o755); err != nil {
			return err
		}
		mode := dir.Mode
		if mode == 0 {
			mode = 0o755
		}
		err := errors.Join(os.Chmod(s.Path(path), mode), os.Chown(s.Path(path), ids[dir.Owner], ids[dir.Owner]))
		if err != nil {
			return err
		}
	}
	files, err := s.recipe()
	if err != nil {
		return err
	}
	maps.Copy(files, s.Files)
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(s.Path(path)), 0o755); err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if strings.HasSuffix(path, ".key") {
			mode = 0o640
		}
		if err := os.WriteFile(s.Path(path), []byte(text), mode); err != nil {
			return err
		}
		if err := os.Chown(s.Path(path), 0, ids[s.Owner[path]]); err != nil {
			return err
		}
	}
	return nil
}

// recipe reads the files of the server's recipe, by path.
func (s *Server) recipe() (map[string]string, error) {
	files := make(map[string]string)
	if s.Recipe == "" {
		return files, nil
	}
	here, err := folder()
	if err != nil {
		return nil, err
	}
	words := strings.NewReplacer(s.Words...)
	dir := filepath.Join(here, "recipes", s.Recipe)
	return files, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir)] = words.Replace(string(text))
		return err
	})
}

// addUsers makes passwd and group files with the server's users.
func (s *Server) addUsers() (map[string]int, error) {
	ids := map[string]int{"": 0, "root": 0}
	passwd, group := "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n",
		"root:x:0:\nmail:x:8:\nnogroup:x:65534:\n"
	for i, u := range s.Users {
		id := firstID + i
		ids[u] = id
		n := strconv.Itoa(id)
		passwd += u + ":x:" + n + ":" + n + "::/var/empty:/bin/sh\n"
		group += u + ":x:" + n + ":\n"
	}
	return ids, errors.Join(
		os.WriteFile(s.Path("/etc/passwd"), []byte(passwd), 0o644),
		os.WriteFile(s.Path("/etc/group"), []byte(group), 0o644),
		os.WriteFile(s.Path("/etc/hosts"), []byte("127.0.0.1 localhost\n"), 0o644),
		os.WriteFile(s.Path("/etc/resolv.conf"), []byte("nameserver 127.0.0.1\n"), 0o644),
		os.WriteFile(s.Path("/etc/nsswitch.conf"), []byte("passwd: files\ngroup: files\nhosts: files dns\n"), 0o644),
	)
}

// packageDir is where setup.sh has unpacked a package.
func packageDir(name string) (string, error) {
	here, err := folder()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(here, "..", "..", ".peers", name)
	if _, err := os.Stat(filepath.Join(dir, ".complete")); err != nil {
		return "", fmt.Errorf("the package is not unpacked; run make setup: %w", err)
	}
	return dir, nil
}

// folder is where the source of this package is.
func folder() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("no source path to find recipes and .peers by")
	}
	return filepath.Dir(file), nil
}

// Tool is a program of a package, to be run as it is: with the package's
// libraries, and otherwise the machine's own files.
func Tool(pkg, program string, args ...string) (*exec.Cmd, error) {
	dir, err := packageDir(pkg)
	if err != nil {
		return nil, err
	}
	libraries, err := filepath.Glob(filepath.Join(dir, "usr/lib/*"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(dir, program), args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin", "LC_ALL=C", "LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}
