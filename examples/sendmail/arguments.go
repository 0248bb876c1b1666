//go:build unix

package main

import (
	"strings"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/examples/internal/compose"
	"github.com/nexthop-mail/nexthop/queue"
)

// mode is what the program is to do.
type mode int

const (
	modeSend mode = iota
	modeSMTP
	modeList
	modeQueue
	modeRunner
	modeNothing
	modeVersion
)

// options are a command line of sendmail's.
type options struct {
	mode       mode
	fromHeader bool // -t: the recipients are in the header
	keepDots   bool // -i: a line of a dot is one of the message
	from       string
	fromGiven  bool
	name       string
	notify     queue.Notify
	ret        queue.Return
	envelopeID string
	config     string
	recipients []string
}

const synopsis = "usage: sendmail [-t] [-i] [-f FROM] [-F NAME] [-N NOTIFY] [-R RET] [-V ENVID] [RECIPIENT...] | -bs | -bp | -q | -bd | --version"

// Options of sendmail, Postfix and Exim: those that take a value, those that take one and
// are ignored here, those whose value can only be in the same word, and those without a
// value that are ignored. A program that passes one of them must not lose its mail.
const (
	withValue    = "fFrNRVCBhLOopXbADdeMT"
	ignored      = "BhLOpXADdeMT"
	inWord       = "dT"
	ignoredFlags = "nvmGUscExJ" // no aliases, verbose, me too, gateway, initial, and old ones
)

// parseArguments parses a command line as sendmail does: a value may stand in the same word
// or in the next, and recipients between options.
func parseArguments(program string, args []string) (*options, error) {
	o := &options{}
	switch program {
	case "mailq":
		o.mode = modeList
	case "newaliases":
		o.mode = modeNothing // aliases are in the configuration
	}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch {
		case word == "--":
			o.recipients = append(o.recipients, args...)
			return o, o.check()
		case word == "--version" || word == "-version":
			o.mode = modeVersion
			return o, nil
		case !strings.HasPrefix(word, "-") || word == "-":
			o.recipients = append(o.recipients, word)
			continue
		}
		var err error
		if args, err = o.word(word, args); err != nil {
			return nil, err
		}
	}
	return o, o.check()
}

// word takes a word of options, such as -ti or -fFROM, and what of the words behind it is
// its value.
func (o *options) word(word string, args []string) ([]string, error) {
	for i := 1; i < len(word); i++ {
		letter, rest := word[i], word[i+1:]
		switch {
		case letter == 'q': // -q30m too: how often is the runner's affair
			if o.mode != modeRunner {
				o.mode = modeQueue
			}
			return args, nil
		case strings.IndexByte(withValue, letter) >= 0:
			if rest == "" && strings.IndexByte(inWord, letter) < 0 {
				if len(args) == 0 {
					return nil, cli.Usage("-%c needs a value\n%s", letter, synopsis)
				}
				rest, args = args[0], args[1:]
			}
			return args, o.set(letter, rest)
		}
		if err := o.flag(letter); err != nil {
			return nil, err
		}
	}
	return args, nil
}

// flag takes an option without a value.
func (o *options) flag(letter byte) error {
	switch letter {
	case 't':
		o.fromHeader = true
	case 'i':
		o.keepDots = true
	case 'I':
		o.mode = modeNothing // newaliases
	default:
		if strings.IndexByte(ignoredFlags, letter) < 0 {
			return cli.Usage("what is -%c? %s", letter, synopsis)
		}
	}
	return nil
}

// set takes an option with its value.
func (o *options) set(letter byte, value string) error {
	switch letter {
	case 'f', 'r':
		o.from, o.fromGiven = senderOf(value), true
	case 'F':
		o.name = value
	case 'C':
		o.config = value
	case 'V':
		o.envelopeID = value
	case 'N':
		n, ok := parseNotify(value)
		if !ok {
			return cli.Usage("-N %q: want never, or a list of success, failure and delay with commas", value)
		}
		o.notify = n
	case 'R':
		switch strings.ToLower(value) {
		case "full":
			o.ret = queue.ReturnFull
		case "hdrs":
			o.ret = queue.ReturnHeaders
		default:
			return cli.Usage("-R %q: want full or hdrs", value)
		}
	case 'o':
		o.keepDots = o.keepDots || value == "i" // the other values set the form of error reports and the like
	case 'b':
		return o.setMode(value)
	default:
		if strings.IndexByte(ignored, letter) < 0 {
			return cli.Usage("what is -%c? %s", letter, synopsis)
		}
	}
	return nil
}

func (o *options) setMode(value string) error {
	modes := map[string]mode{"m": modeSend, "s": modeSMTP, "p": modeList, "d": modeRunner, "D": modeRunner, "i": modeNothing, "I": modeNothing}
	m, ok := modes[value]
	if !ok {
		return cli.Usage("what is -b%s? %s", value, synopsis)
	}
	o.mode = m
	return nil
}

// check detects options that exclude each other.
func (o *options) check() error {
	if o.mode == modeSend && len(o.recipients) == 0 && !o.fromHeader {
		return cli.Usage("no recipients: name them, or give -t\n%s", synopsis)
	}
	if o.mode != modeSend && len(o.recipients) > 0 && o.mode != modeNothing {
		return cli.Usage("what is %q? %s", o.recipients[0], synopsis)
	}
	if o.mode != modeSend && o.fromHeader {
		return cli.Usage("-t sends a message, and another option asks for something else: it would be lost\n%s", synopsis)
	}
	return nil
}

// senderOf is the address in the value of -f, which may have brackets and a name as in a
// header. What has no address, or several, is left to the check of the envelope.
func senderOf(value string) string {
	if list, err := compose.Addresses(value); err == nil && len(list) == 1 {
		return list[0]
	}
	return cli.Mailbox(value)
}

func parseNotify(value string) (n queue.Notify, ok bool) {
	err := n.UnmarshalText([]byte(value))
	return n, err == nil && n != 0 && (n == queue.NotifyNever || n&queue.NotifyNever == 0)
}
