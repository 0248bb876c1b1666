package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"regexp"
	"strings"
	"text/template"
	"time"
)

// letter is the message of an issue.
type letter struct {
	text *template.Template
}

func readLetter(file string) (*letter, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	t, err := template.New(file).Option("missingkey=error").Parse(strings.ReplaceAll(string(b), "\r\n", "\n"))
	if err != nil {
		return nil, err
	}
	l := &letter{text: t}
	text, err := l.write("subscriber@example.org")
	if err != nil {
		return nil, err
	}
	if header, _, whole := strings.Cut(text, "\n\n"); !whole || !field("From").MatchString(header) {
		return nil, fmt.Errorf("%s: want a header with From, an empty line, and the text", file)
	}
	return l, nil
}

// write makes the message for a subscriber.
func (l *letter) write(to string) (string, error) {
	var b strings.Builder
	if err := l.text.Execute(&b, struct{ To string }{to}); err != nil {
		return "", err
	}
	text := b.String()
	header, _, _ := strings.Cut(text, "\n\n")
	if !field("Message-ID").MatchString(header) {
		text = "Message-ID: <" + rand.Text() + "@newsletter.invalid>\n" + text
	}
	if !field("Date").MatchString(header) {
		text = "Date: " + time.Now().Format(time.RFC1123Z) + "\n" + text
	}
	return text, nil
}

// field matches the beginning of a field of a header.
func field(name string) *regexp.Regexp { return regexp.MustCompile(`(?im)^` + name + `:`) }
