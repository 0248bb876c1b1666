package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/nexthop-mail/nexthop/delivery"
)

// readAddresses reads a file with an address on each line. Empty lines and those that
// begin with # are skipped, and so are addresses that stand there twice.
func readAddresses(file string) ([]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list []string
	seen := make(map[string]bool)
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || seen[strings.ToLower(line)] {
			continue
		}
		seen[strings.ToLower(line)] = true
		list = append(list, line)
	}
	return list, nil
}

// suppressed is the addresses that get no mail. Those that turn out not to exist are
// added to the file.
type suppressed struct {
	mu   sync.Mutex
	list map[string]bool
	file *os.File // nil if there is none
	err  error    // the first of writing it
}

func openSuppressed(file string) (*suppressed, error) {
	s := &suppressed{list: make(map[string]bool)}
	if file == "" {
		return s, nil
	}
	list, err := readAddresses(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, address := range list {
		s.list[strings.ToLower(address)] = true
	}
	s.file, err = os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	return s, err
}

// learn is an Events hook.
func (s *suppressed) learn(e delivery.Event) {
	if !e.BadAddress() {
		return
	}
	address := strings.ToLower(e.Recipient)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.list[address] {
		return
	}
	s.list[address] = true
	if s.file != nil {
		_, err := fmt.Fprintln(s.file, address)
		s.err = errors.Join(s.err, err)
	}
}

func (s *suppressed) has(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list[strings.ToLower(address)]
}

// Close saves the file. It also returns an earlier error of writing it.
func (s *suppressed) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	return errors.Join(s.err, s.file.Sync(), s.file.Close())
}

// commands reads lines until the reader ends.
func commands(in *bufio.Scanner, line func(verb, domain string)) {
	for in.Scan() {
		verb, domain, _ := strings.Cut(strings.TrimSpace(in.Text()), " ")
		line(verb, strings.TrimSpace(domain))
	}
}
