// Package storeys puts the files of packages on storeys, by who uses whom: so high that
// they can be read from the bottom to the top.
//
//  1. [Load] notes for each file the other files whose declarations it uses: types,
//     functions, methods, fields, variables and constants. A call by way of an interface
//     is a use of the file with the interface.
//  2. [Draw] puts the files of each package in an order in which few uses run from a
//     later file to an earlier one, and of such orders looks for one with few storeys.
//  3. A file stands one above the highest of those of its package that it uses, but for
//     the uses that run back up, which are counted.
//
// A package can be read without those that use it, and uses of another package are of
// what that one exports and documents. So what a reader has to climb to understand a file
// is the storeys of its package, and the packages beneath, one above the other: Height
// is the most of that. Whole is beside it for those who would rather count the storeys of
// all files as if they were of one package.
//
// Code that can be read from the bottom to the top has no uses that run back up. Where
// there are some the order is the best that was found, and hardly any is better: with a
// hundred times as many tries none was found for 64 files that use each other a lot.
package storeys
