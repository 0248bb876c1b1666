// Command drawing draws who uses whom among the files of some packages: which
// file stands above which, and which uses run back up.
//
//	drawing [-root DIR] [PATTERN ...]
//
// It
//
//  1. reads the packages that the patterns name, "./delivery ./delivery/internal/..."
//     without any, and notes for each file the other files whose declarations it
//     uses;
//  2. puts the files in an order in which few uses run from a later file to an
//     earlier one;
//  3. prints them by storey, the highest first: a file stands one above the highest
//     of those that it uses, but for the uses that run back up, which are counted.
//
// Code that can be read from the bottom to the top has none of these.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "drawing:", err)
		os.Exit(1)
	}
}

// run prints the drawing that args ask for.
func run(args []string, w io.Writer) error {
	flags := flag.NewFlagSet("drawing", flag.ContinueOnError)
	root := flags.String("root", ".", "a folder of the module")
	if err := flags.Parse(args); err != nil {
		return err
	}
	patterns := flags.Args()
	if len(patterns) == 0 {
		patterns = []string{"./delivery", "./delivery/internal/..."}
	}
	uses, err := load(*root, patterns)
	if err != nil {
		return err
	}
	draw(uses).print(w)
	return nil
}
