package delivery

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Settings are what Agent.Configure can replace while mail flows. A zero field
// is its default.
type Settings struct {
	// Schedule says when to try again; nil is DefaultSchedule.
	Schedule Schedule

	// Expire is how long after its arrival a message that does not say so itself
	// is given up (Message.Expires wins); 0 is 5 days, as RFC 5321 section
	// 4.5.4.1 wants at least.
	Expire time.Duration

	// ExpireReport is the same for the reports the agent makes, of which nobody
	// is told by mail when they cannot be delivered; 0 is Expire.
	ExpireReport time.Duration

	// Warn is how long after its arrival the sender is told that a message is
	// delayed, once; 0 is 4 h, negative is never.
	Warn time.Duration

	// Jitter is the part of a delay that is added to it at random, at most, so
	// that what failed together is not tried again together; 0 is 0.1, negative
	// is none. Nothing is ever subtracted.
	Jitter float64

	// Limits are how much is done at once.
	Limits Limits
}

// The values that zero stands for in Settings.
const (
	defaultExpire = 5 * 24 * time.Hour
	defaultWarn   = 4 * time.Hour
	defaultJitter = 0.1
)

func (s Settings) withDefaults() Settings {
	if s.Schedule == nil {
		s.Schedule = DefaultSchedule()
	}
	if s.Expire == 0 {
		s.Expire = defaultExpire
	}
	if s.Warn == 0 {
		s.Warn = defaultWarn
	}
	if s.Jitter == 0 {
		s.Jitter = defaultJitter
	}
	s.Limits = s.Limits.withDefaults()
	return s
}

// Validate says everything that is wrong with the settings, each problem with
// the name of its field; nil where they make sense.
func (s *Settings) Validate() error {
	problems := s.Limits.problems()
	if s.Expire < 0 {
		problems = append(problems, fmt.Errorf("delivery.Settings.Expire: %v is negative", s.Expire))
	}
	if s.ExpireReport < 0 {
		problems = append(problems, fmt.Errorf("delivery.Settings.ExpireReport: %v is negative", s.ExpireReport))
	}
	if math.IsNaN(s.Jitter) || s.Jitter > 1 {
		problems = append(problems, fmt.Errorf("delivery.Settings.Jitter: %v is not a part of the delay", s.Jitter))
	}
	if d, ok := s.Schedule.(Delays); ok {
		problems = append(problems, d.problems()...)
	}
	return errors.Join(problems...)
}
