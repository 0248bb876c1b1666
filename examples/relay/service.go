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
		// A relay whose queue does not answer is useless, and is started again. If the
		// queue is a database, another start would not help.
		asked, cancel := context.WithTimeout(ctx, interval)
		if p.database() != nil || p.answers(asked) == nil {
			p.notify(daemon.SdNotifyWatchdog)
		}
		cancel()
	}
}

// notify does nothing if there is no supervisor.
func (p *parts) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		fmt.Fprintf(p.log, "relay: NOTIFY_SOCKET: %v\n", err)
	}
}

// reloading reports to the supervisor before and after the work at SIGHUP
// (Type=notify-reload).
func (p *parts) reloading(reload func()) {
	p.notify(daemon.SdNotifyReloading + "\nMONOTONIC_USEC=" + monotonic())
	reload()
	p.notify(daemon.SdNotifyReady)
}
