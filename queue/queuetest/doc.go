// Package queuetest tests implementations of queue.Queue against every rule of its
// contract, and measures them.
//
//	func TestQueue(t *testing.T) {
//		queuetest.Run(t, queuetest.Implementation{Open: func() (*queuetest.Instance, error) {
//			return &queuetest.Instance{Queue: new(memory.Queue)}, nil
//		}})
//	}
//
//	func BenchmarkQueue(b *testing.B) {
//		queuetest.Bench(b, queuetest.Implementation{Open: open})
//	}
//
// Run makes a subtest of each case; Test returns what fails as errors and needs no
// testing.T. Each case gets a queue of its own. If it fails, it quotes the rule that it
// checks. Cases that do not apply are not run: cases about lists need a queue.Lister,
// cases about crashes an Instance with Crash, and so on. Run logs the names of the others,
// and NotAsked says what they need, so that you know what was not tested.
//
// The kit gives the time to every call and never waits for one to pass. It
// starts at Implementation.Start; an implementation that has a clock of its own is told
// by Instance.Advance.
package queuetest
