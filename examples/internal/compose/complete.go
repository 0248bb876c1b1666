package compose

import (
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Recipients returns the addresses in To, Cc and Bcc, each once. If the message is
// resent (RFC 5322 section 3.6.6), it returns those of the corresponding Resent-
// fields.
func (h *Header) Recipients() ([]string, error) {
	prefix := ""
	if h.Has("Resent-To") || h.Has("Resent-Cc") || h.Has("Resent-Bcc") {
		prefix = "Resent-"
	}
	var all []string
	for _, name := range []string{"To", "Cc", "Bcc"} {
		for i := range h.fields {
			if !h.fields[i].is(prefix + name) {
				continue
			}
			list, err := Addresses(h.fields[i].value())
			if err != nil {
				return nil, err
			}
			for _, a := range list {
				if !slices.Contains(all, a) {
					all = append(all, a)
				}
			}
		}
	}
	return all, nil
}

// Origin is who sends a message, where and when.
type Origin struct {
	Address string
	Name    string // full, may be empty
	Host    string // is in Message-ID
	Now     time.Time
}

// Complete adds From, Date and Message-ID if they are missing, and takes away what no
// message is sent with: Bcc, which others are not to see, and Return-Path.
func (h *Header) Complete(o Origin) {
	for _, name := range []string{"Bcc", "Resent-Bcc", "Return-Path"} {
		h.Remove(name)
	}
	if !h.Has("From") {
		h.Add("From", Mailbox(o.Name, o.Address))
	}
	if !h.Has("Date") {
		h.Add("Date", o.Now.Format(time.RFC1123Z))
	}
	if !h.Has("Message-ID") {
		h.Add("Message-ID", "<"+strconv.FormatInt(o.Now.UnixMilli(), 36)+"."+strings.ToLower(rand.Text())+"@"+o.Host+">")
	}
}

// Mailbox is an address with a name, as a field has it.
func Mailbox(name, address string) string {
	name = strings.ToValidUTF8(strings.Join(strings.Fields(name), " "), "?")
	switch {
	case name == "":
		return address
	case strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf || r < ' ' || r == 0x7f }):
		return encoded(name) + " <" + address + ">"
	case strings.ContainsAny(name, "()<>[]:;@\\,.\""):
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `" <` + address + ">"
	}
	return name + " <" + address + ">"
}

// encoded is a name in encoded words (RFC 2047), each of 75 octets at most.
func encoded(name string) string {
	const most = 45 // octets of text, of 60 in base64
	var words []string
	for name != "" {
		n := 0
		for n < len(name) {
			_, size := utf8.DecodeRuneInString(name[n:])
			if n+size > most {
				break
			}
			n += size
		}
		words = append(words, "=?utf-8?b?"+base64.StdEncoding.EncodeToString([]byte(name[:n]))+"?=")
		name = name[n:]
	}
	return strings.Join(words, "\r\n ")
}
