package postgrestest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// program is an executable and the folder of the libraries that came with it; empty if it
// uses the machine's.
type program struct{ path, libraries string }

// find looks for a program that stands in one of some folders, which may be patterns,
// below .peers/postgresql or below the root.
func find(name string, folders ...string) (program, error) {
	if dir := os.Getenv("NEXTHOP_POSTGRES"); dir != "" {
		return program{path: filepath.Join(dir, name)}, nil
	}
	for _, root := range roots() {
		for _, folder := range folders {
			found, err := filepath.Glob(filepath.Join(root, folder, name))
			if err != nil {
				return program{}, err
			}
			if len(found) == 0 {
				continue
			}
			slices.Sort(found)
			p := program{path: found[len(found)-1]}
			if root != "/" {
				libraries, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu"))
				if err == nil && len(libraries) > 0 {
					p.libraries = libraries[0]
				}
			}
			return p, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return program{}, fmt.Errorf("postgrestest: %s is not there; make setup downloads it: %w", name, err)
	}
	return program{path: path}, nil
}

// roots are where packages are unpacked: below this directory or one above it, and the
// machine's own.
func roots() (list []string) {
	dir, err := os.Getwd()
	for err == nil && dir != "/" && dir != "." {
		if root := filepath.Join(dir, ".peers", "postgresql"); isDir(root) {
			list = append(list, root)
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	return append(list, "/")
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// command is a program about to run.
func (p program) command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	if p.libraries != "" {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+p.libraries)
	}
	return cmd
}
