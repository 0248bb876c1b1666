// Command drawing draws who uses whom among the files of some packages: which
// file stands above which, and which uses run back up.
//
//	drawing [-root DIR] [PATTERN ...]
//
// It
//
//  1. reads the packages that the patterns name, "./delivery ./delivery/internal/..."
//     without any, and notes for each file the other files whose declarations it
//     uses: types, functions, methods, fields, variables and constants. A call by way
//     of an interface is a use of the file with the interface;
//  2. puts the files of each package in an order in which few uses run from a later
//     file to an earlier one, and of such orders looks for one with few storeys;
//  3. prints them by storey, the highest first: a file stands one above the highest
//     of those of its package that it uses, but for the uses that run back up, which
//     are counted.
//
// A package can be read without those that use it, and uses of another package are of
// what that one exports and documents. So what a reader has to climb to understand a file
// is the storeys of its package, and the packages beneath, one above the other. The last
// line has the most of that, and beside it the storeys there would be if the files of
// all packages were those of one.
//
// Code that can be read from the bottom to the top has no uses that run back up. Where
// there are some the order is the best that was found, and hardly any is better: with a
// hundred times as many tries it finds none.
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
