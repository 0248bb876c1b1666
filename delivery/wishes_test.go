package delivery_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestNoSecondCopyInvited: "try again later" is not the answer for a message that may
// be sent at most once and may have been taken.
func TestNoSecondCopyInvited(t *testing.T) {
	for _, c := range []struct {
		guarantee queue.Guarantee
		at        smtptest.Stage
		temporary bool
	}{
		{queue.AtLeastOnce, smtptest.Final, true},
		{queue.AtMostOnce, smtptest.Final, false},
		{queue.AtMostOnce, smtptest.Rcpt, true}, // certainly not taken
	} {
		t.Run(fmt.Sprintf("SMTP-21 guarantee %d, lost at %v", c.guarantee, c.at), func(t *testing.T) {
			bubble(t, single, servers(script(smtptest.Cue{At: c.at, Then: smtptest.Close})), func(t *testing.T, r *rig) {
				m := message("u@e.test")
				m.Guarantee = c.guarantee
				_, err := r.sender.Send(t.Context(), m)
				e, ok := errors.AsType[*delivery.Error](err)
				if !ok || e.Temporary() != c.temporary || e.AtMostOnce != !c.temporary {
					t.Errorf("%+v, want temporary %t", err, c.temporary)
				}
			})
		})
	}
	t.Run("SMTP-21 in the events of an agent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{
				"mx1.e.test": script(smtptest.Cue{At: smtptest.Final, Then: smtptest.Close}),
			}})
			o.start()
			m := message("u@e.test")
			m.From, m.Guarantee = "", queue.AtMostOnce
			o.submit(m)
			pass(time.Minute)
			if list := o.of(delivery.Failed); len(list) != 1 || list[0].Err.Temporary() {
				t.Errorf("%+v", list)
			}
		})
	})
}

// TestTLSOptional: a message whose sender would rather have it delivered is not held up
// by the policies of domains. What the operator has configured stands.
func TestTLSOptional(t *testing.T) {
	ca := authority(t)
	for _, c := range []struct {
		name     string
		wish     queue.TLSRequirement
		level    mx.TLSLevel
		starttls bool
		want     string
	}{
		{"a policy that asks for TLS holds", queue.TLSByPolicy, mx.TLSMay, false, "deferred"},
		{"TLS-53 in clear, where the host has no TLS", queue.TLSOptional, mx.TLSMay, false, "none"},
		{"TLS-53 by STARTTLS all the same, where it has", queue.TLSOptional, mx.TLSMay, true, "encrypted"},
		{"a level that is configured holds", queue.TLSOptional, mx.TLSEncrypt, false, "deferred"},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := &smtptest.Host{Name: "mx1.e.test", Extensions: full(), Authority: ca}
			if c.starttls {
				host.Extensions = append(host.Extensions, "STARTTLS")
			}
			bubble(t, single, servers(host), func(t *testing.T, r *rig) {
				r.sender.TLS, r.sender.TLSConfig = c.level, ca.ClientConfig()
				r.sender.Policy = policyFunc(func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) {
					return delivery.TLSPolicy{Level: mx.TLSVerify, ServerName: "other.test", Source: "mta-sts", Key: "e"}, nil
				})
				m := message("u@e.test")
				m.TLS = c.wish
				rr := &r.send(t, m).Recipients[0]
				got := rr.TLS.String()
				if rr.Outcome != queue.Delivered {
					got = rr.Outcome.String()
				}
				if got != c.want {
					t.Errorf("%s, want %s: %v", got, c.want, rr.Err)
				}
			})
		})
	}
}

// TestCurrentSettings: one setting can be changed without knowing the others.
func TestCurrentSettings(t *testing.T) {
	a := &delivery.Agent{Settings: delivery.Settings{Warn: -1, Limits: delivery.Limits{PerSite: 3}}}
	s := a.CurrentSettings()
	if s.Warn != -1 || s.Limits.PerSite != 3 || s.Expire != 5*24*time.Hour || s.Schedule == nil {
		t.Errorf("%+v, want the field with its defaults", s)
	}
	s.Limits.Rate = 7
	if err := a.Configure(s); err != nil {
		t.Fatal(err)
	}
	if s = a.CurrentSettings(); s.Limits.Rate != 7 || s.Limits.PerSite != 3 || s.Warn != -1 {
		t.Errorf("%+v, want one more setting than before", s)
	}
}
