package main

import (
	"bytes"
	"errors"
	"io"
	"os"

	"github.com/nexthop-mail/nexthop/queue"
)

// inMemory is how much of a message is read into memory; a longer one goes
// through a temporary file.
const inMemory = 8 << 20

// message is the content read from standard input.
type message struct {
	queue.Content
	file *os.File
}

// Close removes the temporary file, if there is one.
func (m *message) Close() error {
	if m.file == nil {
		return nil
	}
	return errors.Join(m.file.Close(), os.Remove(m.file.Name()))
}

// readMessage takes the message from r to its end.
func readMessage(r io.Reader) (*message, error) {
	head, err := io.ReadAll(io.LimitReader(r, inMemory))
	if err != nil {
		return nil, err
	}
	if len(head) < inMemory {
		return &message{Content: queue.Bytes(head)}, nil
	}
	f, err := os.CreateTemp("", "mxsend-*")
	if err != nil {
		return nil, err
	}
	m := &message{Content: queue.File(f.Name()), file: f}
	if _, err := io.Copy(f, io.MultiReader(bytes.NewReader(head), r)); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}
