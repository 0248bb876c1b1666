// Command mxsend sends one message now, without a queue. It tries the MX hosts of each
// recipient's domain in order, and falls through to the next host if one fails.
//
//	mxsend [flags] -f FROM RCPT... < message
//	mxsend [flags] -t [-f FROM] [RCPT...] < message
//
// With -t the recipients are taken from the message, like sendmail, and From, Date and
// Message-ID are added if they are missing. The message is not queued;
// examples/sendmail does that.
//
// With -explain it connects to no mail host, and prints where the mail would go. With
// -explain-connect as well, it also connects to these hosts to see their TLS, and sends
// no mail. The exit code is one of sendmail's: 0 all delivered, 75 some deferred, 69
// some failed, 68 no such host, 64 usage, 65 bad address or message, 78 bad
// configuration.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue"
)

func main() {
	cli.IgnoreBrokenPipes()
	ctx, stop := cli.UntilStopped()
	defer stop()
	stderr := cli.NewOutput(os.Stderr)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, stderr)
	cli.Flush(stderr)
	os.Exit(code)
}

// run is main with its surroundings passed in.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	opts, err := parseFlags(args, stdout, stderr)
	if err != nil {
		return cli.Complain(stderr, "mxsend", err)
	}
	sender, err := opts.Sender(cli.Role{}, stderr)
	if err != nil {
		return cli.Complain(stderr, "mxsend", err)
	}
	defer sender.Close()
	if opts.explain {
		return opts.explainAll(ctx, sender, stdout)
	}
	stdin = cli.Input(ctx, stdin)
	if opts.fromHeader {
		if stdin, err = opts.complete(bufio.NewReader(stdin), sender.Hello); err != nil {
			return cli.Complain(stderr, "mxsend", err)
		}
	}
	message := opts.message()
	if err := delivery.ValidateEnvelope(message); err != nil {
		return refuse(opts, message, err, stdout, stderr)
	}
	content, err := readMessage(stdin)
	if err != nil {
		fmt.Fprintf(stderr, "mxsend: reading the message: %v\n", err)
		return cli.ExitTempFail
	}
	defer content.Close()
	message.Content = content
	report, err := sender.Send(ctx, message)
	opts.print(stdout, report)
	return exitCode(report, err)
}

// refuse reports an invalid envelope: nothing is sent.
func refuse(opts *options, m *queue.Message, err error, stdout, stderr io.Writer) int {
	fmt.Fprintf(stderr, "mxsend: %v\n", err)
	if opts.json {
		opts.print(stdout, refusal(m, err))
	}
	return cli.ExitData
}

// exitCode returns sendmail's exit code for the results.
func exitCode(report *delivery.Report, err error) int {
	if err == nil {
		return cli.ExitOK
	}
	var failed, noHost, bad int
	for i := range report.Recipients {
		r := &report.Recipients[i]
		switch {
		case r.Outcome != queue.Failed:
		case r.Err.Stage == delivery.StageMessage:
			bad++
		case r.Err.Stage == delivery.StageDNS:
			noHost++
		default:
			failed++
		}
	}
	switch {
	case bad > 0:
		return cli.ExitData
	case noHost == len(report.Recipients):
		return cli.ExitNoHost
	case failed+noHost > 0:
		return cli.ExitUnavailable
	default:
		return cli.ExitTempFail
	}
}
