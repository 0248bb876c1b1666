package clienttest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// Client is a mail client that is tested by Scenarios.
type Client interface {
	// Deliver makes one attempt to deliver m, which may try all hosts. It returns one
	// outcome per recipient, in m's order. It returns when ctx ends.
	Deliver(ctx context.Context, m *queue.Message) []queue.Outcome

	// Close ends the sessions that are still open.
	Close() error
}

// Setup is the configuration of a Client under test.
type Setup struct {
	// Internet answers its DNS questions and accepts its connections.
	Internet *smtptest.Internet

	// Hello is the name to give in EHLO.
	Hello string

	// Self are the names that the client itself has in MX records.
	Self []string
}

// Scenario tests one requirement of a mail client in a small Internet. It can be used
// once; Scenarios returns new ones.
type Scenario struct {
	// Name says what the client must do.
	Name string

	// Section is the section of the standard that says so.
	Section string

	internet smtptest.Internet
	self     []string
	message  queue.Message
	content  string // as it must arrive; empty where that is not looked at
	repeat   int    // messages to send, each by a client of its own; 0 is one

	want   []queue.Outcome // of the recipients; nil is all delivered
	visits []string        // all connections in order; nil where that is not looked at
	shuns  []string        // hosts never to be dialled
	judge  func(*Scenario) string
}

// Failure is the error if a client fails a Scenario.
type Failure struct {
	Name, Section string   // of the Scenario
	Problems      []string // what was seen
}

// Error names the scenario, the section, and the problems.
func (f *Failure) Error() string {
	return fmt.Sprintf("%s (%s): %s", f.Name, f.Section, strings.Join(f.Problems, "; "))
}

// Run runs every Scenario as a subtest, each in a bubble of testing/synctest. newClient
// makes the client under test. It is called several times if a scenario sends many
// messages.
func Run(t *testing.T, newClient func(Setup) Client) {
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := s.Try(t.Context(), newClient); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

const (
	patience = 24 * time.Hour        // how long a client may take, in virtual time
	lookTime = 50 * time.Millisecond // how long hosts look whether more comes
)

// Try lets a client deliver the scenario's mail and checks the result. It must run in a
// bubble of testing/synctest. The error is a *Failure, unless the scenario itself is
// faulty.
func (s *Scenario) Try(ctx context.Context, newClient func(Setup) Client) error {
	if err := s.internet.Open(); err != nil {
		return err
	}
	defer s.internet.Close()
	var problems []string
	for range max(s.repeat, 1) {
		problems = append(problems, s.deliver(ctx, newClient)...)
	}
	problems = append(problems, s.routeProblems()...)
	problems = append(problems, s.hostProblems()...)
	if s.judge != nil {
		if p := s.judge(s); p != "" {
			problems = append(problems, p)
		}
	}
	if len(problems) > 0 {
		return &Failure{Name: s.Name, Section: s.Section, Problems: problems}
	}
	return nil
}

// deliver sends the message once.
func (s *Scenario) deliver(ctx context.Context, newClient func(Setup) Client) (problems []string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := newClient(Setup{Internet: &s.internet, Hello: "client.example", Self: s.self})
	m := s.message
	// A client that does not end when ctx does is torn away from its hosts.
	stop := context.AfterFunc(ctx, s.internet.Close)
	got := client.Deliver(ctx, &m)
	if !stop() {
		problems = append(problems, fmt.Sprintf("no answer in %v", patience))
	}
	want := s.want
	if want == nil {
		want = slices.Repeat([]queue.Outcome{queue.Delivered}, len(m.Recipients))
	}
	if !slices.Equal(got, want) {
		problems = append(problems, fmt.Sprintf("outcomes %v, want %v", got, want))
	}
	if err := client.Close(); err != nil {
		problems = append(problems, fmt.Sprintf("Close: %v", err))
	}
	// Hosts look a moment whether more comes before they judge what came last.
	select {
	case <-time.After(lookTime):
	case <-ctx.Done():
	}
	synctest.Wait()
	if n := s.internet.Network().Open(); n > 0 {
		problems = append(problems, fmt.Sprintf("%d connections left open", n))
	}
	return problems
}

// routeProblems looks at who was dialled.
func (s *Scenario) routeProblems() (problems []string) {
	got := s.internet.Visits()
	if s.visits != nil && !slices.Equal(got, s.visits) {
		problems = append(problems, fmt.Sprintf("dialled %q, want %q", got, s.visits))
	}
	for _, name := range s.shuns {
		if slices.Contains(got, name) {
			problems = append(problems, fmt.Sprintf("dialled %s", name))
		}
	}
	return problems
}

// hostProblems looks at what the hosts took, and at the rules that were broken.
func (s *Scenario) hostProblems() (problems []string) {
	taken := map[string]int{}
	for name, h := range s.internet.Hosts {
		for _, v := range h.Violations() {
			problems = append(problems, name+": "+v.String())
		}
		for _, m := range h.Messages() {
			for _, r := range m.Recipients {
				taken[r.Address]++
			}
			if s.content != "" && string(m.Content) != s.content {
				problems = append(problems, fmt.Sprintf("%s took the content %.200q, want %.200q", name, m.Content, s.content))
			}
		}
	}
	for i, r := range s.message.Recipients {
		want := 0
		if s.want == nil || s.want[i] == queue.Delivered {
			want = max(s.repeat, 1)
		}
		if n := taken[r.Address]; n != want {
			problems = append(problems, fmt.Sprintf("%s was delivered %d times, want %d", r.Address, n, want))
		}
	}
	slices.Sort(problems)
	return problems
}
