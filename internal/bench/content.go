package bench

import "bytes"

// Content is the message of about so many octets that every candidate is given.
func Content(size int) []byte {
	var b bytes.Buffer
	b.WriteString("From: sender@from.test\r\nSubject: a message\r\n\r\n")
	line := append(bytes.Repeat([]byte("x"), 78), '\r', '\n')
	for b.Len() < size {
		b.Write(line)
	}
	return b.Bytes()
}
