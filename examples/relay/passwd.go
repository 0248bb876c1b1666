package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/examples/internal/login"
)

const passwdUsage = `relay passwd [-logins FILE] USER [ADDRESS...]
       relay passwd [-logins FILE] -delete USER
The password is read from standard input: twice without echo if that is a terminal, otherwise from the first line.
USER may send from each ADDRESS; @DOMAIN is all addresses of a domain, '*' is any address. Default: USER itself.`

// passwd is the command "relay passwd": it puts a user into the file of -logins, or
// changes one there.
func passwd(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) int {
	var (
		file       string
		remove     bool
		iterations int
		fs         = flag.NewFlagSet("relay passwd", flag.ContinueOnError)
	)
	fs.StringVar(&file, "logins", "", "`FILE` of users who may log in; it is created if it does not exist")
	fs.BoolVar(&remove, "delete", false, "remove USER from the file")
	fs.IntVar(&iterations, "iterations", login.DefaultIterations, "hash the password `N` times")
	_, err := parseEnvironment(fs, args, io.Discard, stderr, passwdUsage)
	if err == nil {
		err = changePassword(ctx, file, remove, iterations, fs.Args(), stdin, stdout, stderr)
	}
	if err != nil {
		return cli.Complain(stderr, "relay passwd", err)
	}
	return cli.ExitOK
}

func changePassword(ctx context.Context, file string, remove bool, iterations int, words []string, stdin *os.File, stdout, stderr io.Writer) error {
	switch {
	case file == "":
		return cli.Usage("-logins is missing\nusage: %s", passwdUsage)
	case len(words) == 0:
		return cli.Usage("a user is missing\nusage: %s", passwdUsage)
	case remove && len(words) > 1:
		return cli.Usage("-delete takes no addresses")
	case iterations < 4096 || iterations > 1<<22:
		return cli.Usage("-iterations is from 4096 to 4194304") // RFC 7677 section 4 has the least
	case remove:
		return writeLogins(stdout, login.Remove(file, words[0]), words[0]+" is gone")
	}
	// Errors are detected before the user types a password.
	if err := login.Check(words[0], words[1:]); err != nil {
		return &cli.Error{Code: cli.ExitData, Err: err}
	}
	password, err := readPassword(ctx, stdin, stderr)
	if err != nil {
		return &cli.Error{Code: cli.ExitData, Err: err}
	}
	v, err := login.NewVerifier(password, iterations)
	if err != nil {
		return &cli.Error{Code: cli.ExitData, Err: err}
	}
	return writeLogins(stdout, login.Write(file, &login.User{Name: words[0], Verifier: v, Addresses: words[1:]}), words[0]+" can log in")
}

func writeLogins(stdout io.Writer, err error, done string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &cli.Error{Code: cli.ExitData, Err: err}
	case err != nil:
		return cli.Config("%w", err)
	}
	_, err = fmt.Fprintln(stdout, done)
	return err
}

var errTwoPasswords = errors.New("these are two passwords")

// readPassword reads it from a person, or from a program that has it in a line.
func readPassword(ctx context.Context, stdin *os.File, stderr io.Writer) (string, error) {
	if !term.IsTerminal(int(stdin.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(cli.Input(ctx, stdin), 1<<12)).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil // it ends without a line end
		}
		return strings.TrimRight(line, "\r\n"), err
	}
	var typed [2]string
	for i, prompt := range []string{"Password: ", "Once more: "} {
		fmt.Fprint(stderr, prompt)
		p, err := typedPassword(ctx, stdin)
		fmt.Fprintln(stderr)
		if err != nil {
			return "", err
		}
		typed[i] = string(p)
	}
	if typed[0] != typed[1] {
		return "", errTwoPasswords
	}
	return typed[0], nil
}

// typedPassword reads a line without echo. When ctx ends, it restores the terminal.
func typedPassword(ctx context.Context, terminal *os.File) ([]byte, error) {
	type line struct {
		text []byte
		err  error
	}
	before, err := term.GetState(int(terminal.Fd()))
	if err != nil {
		return nil, err
	}
	read := make(chan line, 1)
	go func() {
		text, err := term.ReadPassword(int(terminal.Fd()))
		read <- line{text, err}
	}()
	select {
	case l := <-read:
		return l.text, l.err
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), term.Restore(int(terminal.Fd()), before))
	}
}
