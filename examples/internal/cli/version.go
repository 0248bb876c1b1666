package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version returns the version of a program: that of its module, or the commit, and the
// Go version it was built with.
func Version(program string) string {
	version, commit := "(devel)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		modified := ""
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = " " + s.Value[:min(12, len(s.Value))]
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = " with changes"
			}
		}
		commit += modified
	}
	return fmt.Sprintf("%s of nexthop %s%s (%s, %s/%s)", program, version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
