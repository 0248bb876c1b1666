package main

import (
	"encoding/json"
	"os"
	"sync"
)

// user is a record. Outcome is the outcome of the mail, or "" if that is not known yet, and
// Position its position in the queue.
type user struct{ Name, Email, Token, Outcome, Position string }

// users stands for a database: a file with one line for each change of a record.
type users struct {
	mu   sync.Mutex
	file *os.File
	list map[string]user
}

func openUsers(name string) (*users, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	u := &users{file: f, list: make(map[string]user)}
	for lines := json.NewDecoder(f); lines.More(); {
		var one user
		if err := lines.Decode(&one); err != nil {
			return nil, err
		}
		u.list[one.Name] = one
	}
	return u, nil
}

// change saves a record that f has changed, and returns it. A record that is new is empty.
func (u *users) change(name string, f func(*user)) (user, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	one := u.list[name]
	f(&one)
	if one == u.list[name] {
		return one, nil
	}
	line, err := json.Marshal(one)
	if err == nil {
		_, err = u.file.Write(append(line, '\n'))
	}
	if err == nil {
		err = u.file.Sync()
	}
	if err == nil {
		u.list[name] = one
	}
	return one, err
}

// waiting returns the users whose outcome is not known.
func (u *users) waiting() (list []user) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, one := range u.list {
		if one.Outcome == "" {
			list = append(list, one)
		}
	}
	return list
}

// position returns the position of the last outcome that is recorded.
func (u *users) position() (last string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, one := range u.list {
		last = max(last, one.Position)
	}
	return last
}
