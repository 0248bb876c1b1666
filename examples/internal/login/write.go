package login

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Write puts a user into a file, replacing a user of the same name, and creates the
// file if it does not exist. The rest of the file is unchanged. Readers see either the
// old file or the new one.
func Write(file string, u *User) error {
	if err := u.check(); err != nil {
		return err
	}
	line := strings.Join(append([]string{u.Name, u.Verifier.String()}, u.Addresses...), " ")
	return edit(file, u.Name, line+"\n")
}

// Remove takes a user out of a file. The error is fs.ErrNotExist if he is not in it.
func Remove(file, name string) error { return edit(file, name, "") }

// edit puts a line in place of a user's.
func edit(file, name, line string) (err error) {
	text, err := os.ReadFile(file)
	if err != nil && (!errors.Is(err, fs.ErrNotExist) || line == "") {
		return err // a file that cannot be read must not be replaced
	}
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
	}
	if _, err := parse(text); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	edited, found := replace(string(text), name, line)
	if !found && line == "" {
		return fmt.Errorf("%s has no user %s: %w", file, name, fs.ErrNotExist)
	}
	return replaceFile(file, edited, mode)
}

// replace puts line in place of the one of a user, else at the end.
func replace(text, name, line string) (edited string, found bool) {
	var b strings.Builder
	for l := range strings.Lines(text) {
		if words := strings.Fields(l); len(words) > 0 && words[0] == name {
			l, found = line, true
		} else if !strings.HasSuffix(l, "\n") {
			l += "\n"
		}
		b.WriteString(l)
	}
	if !found {
		b.WriteString(line)
	}
	return b.String(), found
}

// replaceFile writes a new file and puts it in the place of another, with the same
// owner if possible. The name of the new file prevents two programs from doing so at
// once.
func replaceFile(file, text string, mode fs.FileMode) (err error) {
	name := file + ".new"
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("another program is changing the file; if not, remove the rest of an attempt: %w", err)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(name)
		}
	}()
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(mode), keepOwner(f, file), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(name, file)
}

// Check reports errors in a user's name and addresses.
func Check(name string, addresses []string) error {
	return (&User{Name: name, Addresses: addresses}).check()
}
