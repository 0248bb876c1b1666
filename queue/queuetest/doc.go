// Package queuetest holds every implementation of queue.Queue to the contract,
// rule by rule, and measures it.
//
//	func TestQueue(t *testing.T) {
//		queuetest.Run(t, queuetest.Subject{Open: func() (*queuetest.Instance, error) {
//			return &queuetest.Instance{Queue: new(memory.Queue)}, nil
//		}})
//	}
//
//	func BenchmarkQueue(b *testing.B) {
//		queuetest.Bench(b, queuetest.Subject{Open: open})
//	}
//
// Run makes a subtest of each case; Test returns what fails as errors and needs
// no testing.T. Each case gets a queue of its own, names the rule it guards and
// quotes it where it fails. What an implementation cannot do is not asked of it:
// cases about lists run on a queue.Lister, cases about crashes on an Instance
// with Crash, and so on. Run logs the names of the others, and NotAsked tells what they
// would need, so that nobody takes for tested what was not.
//
// The kit gives the time to every call and never waits for one to pass. It
// starts at Subject.Start; an implementation that has a clock of its own is told
// by Instance.Advance.
package queuetest
