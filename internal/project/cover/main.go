// Command cover lists the requirements that a test run has shown, from what
// go test -json printed, and how much of each package the run has reached. A
// requirement is shown by a subtest that has its number in its name, ran, and
// passed, if no other with that number failed.
//
//	cover [-profile FILE] FILE...
//
// It is run at the root of the repository.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/nexthop-mail/nexthop/internal/project"
)

func main() {
	if err := run(os.Args[1:], ".", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cover:", err)
		os.Exit(1)
	}
}

// run prints the report on the test output in the files that args name, for the
// repository at root.
func run(args []string, root string, w io.Writer) error {
	flags := flag.NewFlagSet("cover", flag.ContinueOnError)
	profile := flags.String("profile", "", "a cover profile of the same run, for coverage by package")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("name files with the output of go test -json")
	}
	seen := newResults()
	for _, name := range flags.Args() {
		if err := fromFile(name, seen.read); err != nil {
			return err
		}
	}
	rows, err := project.Requirements(root)
	if err != nil {
		return err
	}
	reasons, err := project.NotShown(root)
	if err != nil {
		return err
	}
	seen.report(w, rows, reasons)
	if *profile == "" {
		return nil
	}
	reached := make(coverage)
	if err := fromFile(*profile, reached.read); err != nil {
		return err
	}
	reached.report(w)
	return nil
}

// fromFile reads a file with f.
func fromFile(name string, f func(io.Reader) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := f(file); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
