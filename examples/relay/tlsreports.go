package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue/postgres/tlsstore"
)

const tlsReportsUsage = "relay tls-reports [-queue WHERE] [-day YYYY-MM-DD] [-json]"

// tlsReportsDir is the directory inside that of the queue for the counts of TLS
// reports, and contactFile the file in it with the address of -tls-reports.
const (
	tlsReportsDir = "tls-reports"
	contactFile   = "contact"
)

// saveTLSCounts is the operation that has a relay save what it has counted.
const saveTLSCounts = "save-tls-counts"

// checkTLSReports finds an address of -tls-reports that is none.
func (o *options) checkTLSReports() error {
	if who := (tlsrpt.Submitter{Contact: o.tlsReports}); o.tlsReports != "" && who.Domain() == "" {
		return cli.Usage("-tls-reports %q is not an address", o.tlsReports)
	}
	return nil
}

// countTLS has a sender's sessions counted for reports.
func (p *parts) countTLS(s *delivery.Sender) {
	if p.options.tlsReports == "" {
		return
	}
	trace := delivery.Trace{}
	if s.Trace != nil {
		trace = *s.Trace
	}
	trace.Decided = func(d *delivery.Decision) { d.Count(&p.tlsCounts) }
	s.Trace = &trace
}

// reportTLS makes what sends reports. Those by mail must be signed with DKIM, which this
// relay does not do: it sends them if all mail goes to a smart host, which may.
func (p *parts) reportTLS() error {
	o := p.options
	if o.tlsReports == "" {
		return nil
	}
	complain := func(format string, args ...any) { fmt.Fprintf(p.log, "relay: -tls-reports: "+format+"\n", args...) }
	resolver := o.Resolver()
	p.reporter = &tlsrpt.Reporter{
		Counts: &p.tlsCounts, Submitter: tlsrpt.Submitter{Contact: o.tlsReports}, Resolver: resolver,
		Poster: &tlsrpt.Poster{Resolver: resolver, AllowLoopback: o.Loopback},
		Trace: &tlsrpt.Trace{
			StoreFailed: func(err error) { complain("%v", err) },
			LeftOut:     func(day tlsrpt.Day, n uint64) { complain("%v: there was no room for %d sessions", day, n) },
			Done: func(d tlsrpt.Delivery) {
				if len(d.Taken) == 0 {
					complain("no target accepts the report of %v for %s: %s", d.Day, d.Domain, strings.Join(d.Problems, "; "))
				}
			},
		},
	}
	if len(o.SmartHosts.Default) > 0 {
		p.reporter.Mail, p.reporter.SignedLater = p.agent, true
	} else {
		complain("reports go over HTTPS alone: those by mail need a DKIM signature, which a smart host could add")
	}
	if d := p.database(); d != nil {
		p.reporter.Store = &tlsstore.Reports{Pool: d.pool, Schema: d.schema, Contact: o.tlsReports}
		return nil
	}
	if p.dir == "" {
		return nil // in memory, as the queue
	}
	dir := filepath.Join(p.dir, tlsReportsDir)
	p.reporter.Store = &tlsrpt.Dir{Path: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, contactFile), []byte(o.tlsReports+"\n"), 0o600)
}

// operate does what a command asks for.
func (p *parts) operate(ctx context.Context, o *operation, w io.Writer) error {
	if o.Verb != saveTLSCounts {
		return o.run(ctx, p.agent, w)
	}
	if p.reporter == nil {
		return nil
	}
	return p.reporter.Save(ctx)
}

// tlsReports is the command "relay tls-reports".
func tlsReports(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var (
		where string
		json  bool
		day   = tlsrpt.DayOf(time.Now())
		fs    = flag.NewFlagSet("relay tls-reports", flag.ContinueOnError)
	)
	fs.StringVar(&where, "queue", defaultQueue, "`WHERE` mail waits: a directory, or a database as a postgres:// URL or @FILE with one in it")
	fs.BoolVar(&json, "json", false, "print the reports as JSON, one per line")
	fs.Func("day", "the `DAY`, UTC, such as 2006-01-02 (default: today)", func(text string) (err error) {
		day, err = tlsrpt.ParseDay(text)
		return err
	})
	_, err := parseEnvironment(fs, args, stdout, stderr, tlsReportsUsage)
	if err == nil && fs.NArg() > 0 {
		err = cli.Usage("what is %q? %s", fs.Arg(0), tlsReportsUsage)
	}
	if err == nil {
		err = showTLSReports(ctx, where, day, json, stdout)
	}
	if err != nil {
		return cli.Complain(stderr, "relay tls-reports", err)
	}
	return cli.ExitOK
}

// showTLSReports prints what was counted on a day: by the relay that runs, up to now, and
// by those that ran before.
func showTLSReports(ctx context.Context, where string, day tlsrpt.Day, json bool, w io.Writer) error {
	if where == inMemory {
		return cli.Usage("a queue in memory is seen by its relay alone")
	}
	kind, err := checkWhere(where)
	if err != nil {
		return err
	}
	if kind == inDatabase {
		return showSharedTLSReports(ctx, where, day, json, w)
	}
	if _, err := os.Stat(where); err != nil {
		return cli.Config("%w", err)
	}
	dir := filepath.Join(where, tlsReportsDir)
	contact, err := os.ReadFile(filepath.Join(dir, contactFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no relay with -tls-reports was here
	} else if err != nil {
		return cli.Config("%w", err)
	}
	// If no relay runs, or it is too old for this, what is saved is all there is.
	_, _ = callRelay(ctx, filepath.Join(where, controlSocket), operation{Verb: saveTLSCounts}, io.Discard)
	return printTLSCounts(ctx, &tlsrpt.Dir{Path: dir}, strings.TrimSpace(string(contact)), day, json, w)
}

// showSharedTLSReports prints what the relays on a database have counted on a day, up to now.
func showSharedTLSReports(ctx context.Context, where string, day tlsrpt.Day, json bool, w io.Writer) error {
	d, err := openDatabase(ctx, where, asCommand)
	if err != nil {
		return err
	}
	relays, err := d.relays(ctx)
	if err == nil { // else what is saved is all there is
		d.askSoon(ctx, relays, operation{Verb: saveTLSCounts})
	}
	store := &tlsstore.Reports{Pool: d.pool, Schema: d.schema}
	contact, err := store.LastContact(ctx)
	if err == nil {
		err = printTLSCounts(ctx, store, contact, day, json, w)
	}
	return errors.Join(err, d.Close())
}

// printTLSCounts prints what a store has of a day.
func printTLSCounts(ctx context.Context, store tlsrpt.Store, contact string, day tlsrpt.Day, json bool, w io.Writer) error {
	saved := tlsrpt.Reporter{Counts: &tlsrpt.Counts{}, Store: store}
	tallies, err := saved.Tallies(ctx, day)
	if err != nil {
		return &cli.Error{Code: cli.ExitTempFail, Err: err}
	}
	if json {
		return printTLSReports(w, tlsrpt.Submitter{Contact: contact}, day, tallies)
	}
	for _, t := range tallies {
		fmt.Fprintf(w, "%s %v", t.Domain, t.Policy.Type)
		if t.Policy.Domain != t.Domain {
			fmt.Fprintf(w, " of %s", t.Policy.Domain)
		}
		fmt.Fprintf(w, ": %d successful, %d failed\n", t.Successes, t.Failures)
		for _, d := range t.Details {
			fmt.Fprintf(w, "    %d %v", d.Sessions, d.Result)
			if d.Reason != "" {
				fmt.Fprintf(w, " (%s)", d.Reason)
			}
			if d.Host != "" {
				fmt.Fprintf(w, " at %s", d.Host)
			}
			if d.ReceivingIP.IsValid() {
				fmt.Fprintf(w, " [%v]", d.ReceivingIP)
			}
			fmt.Fprintln(w)
		}
	}
	return nil
}

// printTLSReports prints the report of each domain as JSON.
func printTLSReports(w io.Writer, who tlsrpt.Submitter, day tlsrpt.Day, tallies []tlsrpt.Tally) error {
	for domain, all := range tlsrpt.ByDomain(tallies) {
		text, err := who.Report(day, domain, all).JSON()
		if err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return nil
}
