// Command signup is a web service that mails a welcome to each new user.
//
//	signup -spool DIR -key dkim.pem -smarthost submission://user:password@mail.example.org
//	curl -d user=bob -d email=bob@example.com http://127.0.0.1:8080/signup
//	curl http://127.0.0.1:8080/status?user=bob
//
// A promised mail survives a crash, and a second sign-up queues no second one. The queue
// keeps the outcomes for a month, also for the time after a crash. They are written to the
// log, and counted at GET /metrics.
package main

import (
	"context"
	"crypto"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/metrics"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue/disk"
	"github.com/nexthop-mail/nexthop/smarthost"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "the `ADDRESS` for HTTP")
	dir := flag.String("spool", "signup.spool", "the `DIR` for mail")
	key := flag.String("key", "dkim.pem", "a `FILE` with the DKIM key, in PKCS #8")
	via := flag.String("smarthost", "", "the `URL` of a submission server; default: MX hosts")
	flag.Parse()
	cli.IgnoreBrokenPipes() // the log may lose its reader
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	if err := start(*listen, *dir, *key, *via); err != nil {
		slog.Error("ended", "err", err)
		os.Exit(1)
	}
}

// start makes what run needs of the arguments.
func start(listen, dir, keyFile, via string) error {
	ctx, stop := cli.UntilStopped()
	defer stop()
	key, err := readKey(keyFile)
	if err != nil {
		return err
	}
	sender := &delivery.Sender{Hello: "app.example.org"}
	if via != "" {
		if sender.Router, err = smarthost.Via(via); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	return run(ctx, listener, dir, key, sender)
}

// month is how long the queue remembers what it was given, and how that ended.
const month = 30 * 24 * time.Hour

// run serves until ctx ends. Then it stops in this order: no more requests, no more
// deliveries, and last the queue.
func run(ctx context.Context, listener net.Listener, dir string, key crypto.Signer, sender *delivery.Sender) error {
	spool, err := disk.Open(dir, disk.Options{KeepKeys: month, KeepOutcomes: month})
	if err != nil {
		return err
	}
	defer spool.Close()
	agent := &delivery.Agent{
		Queue: spool, Sender: sender, Sign: signer("example.org", "key1", key),
		Settings: delivery.Settings{Expire: 24 * time.Hour, Warn: -1},
		Bounce:   func(delivery.Event) bool { return false }, // the events are enough
	}
	service := &signUp{agent: agent, ended: make(map[string]string)}
	recorder := &metrics.Recorder{Agent: agent}
	agent.Events = delivery.Hooks(service.event, recorder.Record,
		delivery.Log(slog.Default(), delivery.LogOptions{Metadata: []string{"user"}}))
	if err := agent.Validate(); err != nil {
		return err
	}
	if err := service.learn(ctx); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /signup", service.signUp)
	mux.HandleFunc("GET /status", service.status)
	mux.Handle("GET /metrics", recorder)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}

	running, stopAgent := context.WithCancel(context.WithoutCancel(ctx))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return agent.Run(running) })
	group.Go(func() error {
		<-ctx.Done() // a signal, or one of the others has failed
		defer stopAgent()
		patience, end := context.WithTimeout(running, 10*time.Second)
		defer end()
		return server.Shutdown(patience)
	})
	group.Go(func() error {
		if err := server.Serve(listener); err != http.ErrServerClosed {
			return err
		}
		return nil
	})
	return group.Wait()
}
