// Command quickstart shows how mail finds its way, with real sockets and real DNS
// packets, on loopback:
//
//	go run -C examples ./quickstart
//
// example.com has two mail exchangers, mail and mx2. First mail is sent to mail. Then
// mail goes down, and the sender falls through to mx2, which keeps the message until
// mail is back, and passes it on to that host only. Then the same happens with a smart
// host instead of MX records. The program prints each step, and verifies everything it
// printed at the end: the exit code is 1 if anything is different.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(command(ctx, os.Stdout, os.Stderr, asTold()))
}

// command tells the story in a world made by the plan, and answers with the exit
// code.
func command(ctx context.Context, stdout, stderr io.Writer, p plan) int {
	t := newTeller(stdout)
	err := tell(ctx, t, p)
	if errors.Is(err, errNotAsTold) {
		return 1 // which says so itself
	}
	if err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
		return 1
	}
	return 0
}

// plan is how the world of the story is made. Its tests break it.
type plan struct {
	zone     string        // what DNS says
	stays    bool          // the primary stays down
	meddle   func(*world)  // is called while the primary is down
	selfless bool          // mx2 does not know its own name
	pause    time.Duration // between two attempts of mx2
	patience time.Duration // for one event
}

// asTold is the plan under which everything is as told.
func asTold() plan {
	return plan{zone: zone, pause: time.Second, patience: 5 * time.Second}
}

const zone = `$TTL 60
$ORIGIN example.com.
@      MX  10 mail
@      MX  20 mx2
mail   A   127.0.0.2
mx2    A   127.0.0.3
$ORIGIN example.net.
smart  A   127.0.0.4`
