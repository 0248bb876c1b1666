package main

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// tellSystemd tells systemd, if it started the relay (Type=notify), that it takes mail, that
// it still works (WatchdogSec=), and that it stops, when ctx has ended.
func (p *parts) tellSystemd(ctx context.Context) {
	p.notify(daemon.SdNotifyReady + "\nSTATUS=taking mail at " + p.listener.Addr().String())
	interval, err := daemon.SdWatchdogEnabled(false)
	p.complain("WATCHDOG_USEC", err)
	if interval <= 0 {
		<-ctx.Done()
		p.notify(daemon.SdNotifyStopping)
		return
	}
	tick := time.NewTicker(interval / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			p.notify(daemon.SdNotifyStopping)
			return
		case <-tick.C:
		}
		// A relay whose queue does not answer is of no use: it is started again. If that
		// is a database, another start changes nothing.
		asked, cancel := context.WithTimeout(ctx, interval)
		if p.database() != nil || p.answers(asked) == nil {
			p.notify(daemon.SdNotifyWatchdog)
		}
		cancel()
	}
}

// notify does nothing without a supervisor that wants to know.
func (p *parts) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		fmt.Fprintf(p.log, "relay: NOTIFY_SOCKET: %v\n", err)
	}
}

// reloading brackets what is done at SIGHUP (Type=notify-reload).
func (p *parts) reloading(reload func()) {
	p.notify(daemon.SdNotifyReloading + "\nMONOTONIC_USEC=" + monotonic())
	reload()
	p.notify(daemon.SdNotifyReady)
}
