//go:build unix

package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/examples/internal/compose"
	"github.com/nexthop-mail/nexthop/queue"
)

// submission is an envelope on its way to the runner. The content follows it. It does
// not contain the submitter, whom the runner learns from the kernel.
type submission struct {
	Key        string       `json:"key"`  // makes it one message, however often it is sent
	From       *string      `json:"from"` // nil: the submitter
	Recipients []recipient  `json:"recipients"`
	Return     queue.Return `json:"return,omitempty"`
	EnvelopeID string       `json:"envelope-id,omitempty"`
	UTF8       bool         `json:"utf8,omitempty"`
}

// recipient is one before aliases are resolved.
type recipient struct {
	Address      string       `json:"address"`
	Notify       queue.Notify `json:"notify,omitempty"`
	OriginalType string       `json:"original-type,omitempty"`
	Original     string       `json:"original,omitempty"`
}

// add adds recipients with the options of the command line that apply to all.
func (s *submission) add(o *options, addresses ...string) {
	for _, a := range addresses {
		s.Recipients = append(s.Recipients, recipient{Address: a, Notify: o.notify})
	}
}

// message is the submission as a message without content, of a user by his login name.
func (c *config) message(s *submission, login string) *queue.Message {
	m := &queue.Message{From: login, Key: s.Key, Return: s.Return, EnvelopeID: s.EnvelopeID, UTF8: s.UTF8}
	if s.From != nil {
		m.From = *s.From
	}
	m.From = c.sender(m.From)
	seen := make(map[string]bool)
	for _, r := range s.Recipients {
		for _, a := range c.expand(r.Address) {
			if seen[strings.ToLower(a)] {
				continue
			}
			seen[strings.ToLower(a)] = true
			m.Recipients = append(m.Recipients, queue.Recipient{Address: a, Notify: r.Notify, OriginalType: r.OriginalType, Original: r.Original})
		}
	}
	return m
}

// maxEnvelope is how many octets a submission has at most as JSON.
const maxEnvelope = 1 << 20

// newSubmission is what a command line asks for.
func newSubmission(o *options) (*submission, error) {
	s := &submission{Key: rand.Text(), Return: o.ret, EnvelopeID: o.envelopeID}
	if o.fromGiven {
		s.From = &o.from
	}
	for _, word := range o.recipients {
		list, err := compose.Addresses(word)
		if err != nil {
			return nil, dataError(err)
		}
		s.add(o, list...)
	}
	return s, nil
}

func dataError(err error) error { return &cli.Error{Code: cli.ExitData, Err: err} }

func temporary(err error) error { return &cli.Error{Code: cli.ExitTempFail, Err: err} }

// send takes a message from standard input and hands it to the runner.
func send(o *options, c *config, stdin io.Reader) error {
	s, err := newSubmission(o)
	if err != nil {
		return err
	}
	in := bufio.NewReader(stdin)
	header, err := compose.ReadHeader(in)
	if errors.Is(err, compose.ErrHeader) {
		return dataError(err)
	} else if err != nil {
		return temporary(err)
	}
	if o.fromHeader {
		more, err := header.Recipients()
		if err != nil {
			return dataError(err)
		}
		s.add(o, more...)
	}
	if len(s.Recipients) == 0 {
		return dataError(errors.New("the message has no recipients"))
	}
	from, name := o.author()
	header.Complete(compose.Origin{Address: c.qualify(from), Name: name, Host: c.domain, Now: time.Now()})
	return submit(c, s, func(w io.Writer) error {
		if _, err := header.WriteTo(w); err != nil {
			return err
		}
		return compose.CopyBody(w, in, !o.keepDots)
	})
}

// author is who From names if the message does not.
func (o *options) author() (from, name string) {
	from, name = whoAmI(os.Getuid())
	if o.fromGiven && o.from != "" && o.from != from {
		from, name = o.from, ""
	}
	if o.name != "" {
		name = o.name
	}
	return from, name
}

// whoAmI is the name that a user logs in with, and the full one if there is one.
func whoAmI(uid int) (login, full string) {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return fmt.Sprintf("uid%d", uid), ""
	}
	full, _, _ = strings.Cut(u.Name, ",")
	return u.Username, strings.ReplaceAll(full, "&", u.Username)
}

// writeEnvelope writes a submission as a line.
func (s *submission) writeEnvelope(w io.Writer) error { return json.NewEncoder(w).Encode(s) }

// readEnvelope reads what writeEnvelope has written.
func readEnvelope(in *bufio.Reader) (*submission, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) || len(line) > maxEnvelope {
			return nil, fmt.Errorf("no envelope: %w", err)
		}
	}
	s := &submission{}
	if err := json.Unmarshal(line, s); err != nil {
		return nil, fmt.Errorf("no envelope: %w", err)
	}
	if !isKey(s.Key) || len(s.Recipients) == 0 {
		return nil, errors.New("an envelope without a key or recipients")
	}
	return s, nil
}

// isKey lets letters and digits be, a few of them: keys stand in Received fields.
func isKey(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
}
