package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
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

	// mark begins the comments in the file that say up to which outcome of the spool the
	// list is complete, and after is the position in the last one.
	mark, after string
}

func openSuppressed(file, spool string) (*suppressed, error) {
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
	if spool, err = filepath.Abs(spool); err != nil {
		return nil, err
	}
	s.mark = fmt.Sprintf("# complete for %q until ", spool)
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if position, ours := strings.CutPrefix(strings.TrimSpace(line), s.mark); ours {
			s.after = position
		}
	}
	s.file, err = os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	return s, err
}

// learn is an Events hook.
func (s *suppressed) learn(e delivery.Event) {
	if e.BadAddress() {
		s.add(e.Recipient)
	}
}

// catchUp adds the addresses whose events were lost, because the program was killed. The
// spool has the outcomes.
func (s *suppressed) catchUp(ctx context.Context, spool queue.Queue) error {
	if s.file == nil {
		return nil
	}
	last := s.after
	for more := true; more; {
		page, err := queue.Outcomes(ctx, spool, queue.OutcomeOptions{After: s.after})
		if _, bad := errors.AsType[*queue.PositionError](err); bad && s.after != "" {
			s.after = "" // the directory has another spool now
			continue
		} else if err != nil {
			return err
		}
		for i := range page.Outcomes {
			if o := &page.Outcomes[i]; delivery.BadAddress(o) {
				s.add(o.Address)
			}
		}
		s.after, more = page.Next, page.More
	}
	if s.after == last {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := fmt.Fprintln(s.file, s.mark+s.after)
	return err
}

// add adds an address, also to the file.
func (s *suppressed) add(address string) {
	address = strings.ToLower(address)
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
