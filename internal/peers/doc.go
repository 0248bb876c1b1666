// Package peers runs real servers for tests: a dozen mail servers, BIND, Knot and Unbound,
// out of Debian's packages, npm's and a Go module, each with the file tree its package
// expects, on a loopback network of the test binary's own.
//
// The packages are not installed, for mail servers conflict with each other and
// with the machine's own. The setup script downloads and unpacks them into
// .peers at the root of the repository (make setup). A test package
//
//   - calls [Main] from its TestMain, which starts the test binary again in new
//     mount, network and process namespaces: all of 127.0.0.0/8 with every port is free
//     there, and nothing leaves the machine;
//   - describes a server as a [Server], with its package, its files and its
//     command, and calls Start. The server sees an overlay of its package and
//     its files over the machine's own file system, and is gone at the end of
//     the test.
//
// A [Machine] is such a tree with a real systemd as its first process, for services and
// the programs around them.
//
// It needs root. A machine without it, or without the packages, fails the tests
// rather than skipping them.
//
// To add a server: name its package in setup.sh, put its configuration into a folder
// of recipes, and write a function that returns a Server, for a [Host] if it is a mail
// server. A client is a Server without a command, whose programs Run runs.
package peers
