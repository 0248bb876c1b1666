package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue"
)

// actions is whether the dashboard may act.
type actions string

const (
	showOnly     actions = ""
	fromLoopback actions = "loopback"
	fromAnywhere actions = "anywhere"
)

// String, Set and IsBoolFlag make it a flag that needs no value.
func (a *actions) String() string { return string(*a) }

// Set takes the value of the flag.
func (a *actions) Set(v string) error {
	switch v {
	case "true", string(fromLoopback):
		*a = fromLoopback
	case string(fromAnywhere):
		*a = fromAnywhere
	case "false":
		*a = showOnly
	default:
		return fmt.Errorf("it takes no value but anywhere")
	}
	return nil
}

// IsBoolFlag says that the flag may stand without a value.
func (a *actions) IsBoolFlag() bool { return true }

// allowed is why the dashboard may not act at an address, nil if it may.
func (a actions) allowed(at net.Addr) error {
	tcp, ok := at.(*net.TCPAddr)
	if a == fromLoopback && !(ok && tcp.IP.IsLoopback()) {
		return cli.Usage("-actions: %s is not a loopback address, so that others could act too; -actions=anywhere lets them", at)
	}
	return nil
}

// speaksTo reports whether a request uses one of the dashboard's own names. Otherwise a
// foreign page could read and act here, because the owner of its name can make it lead
// to this address.
func (a actions) speaksTo(r *http.Request) bool {
	if a == fromAnywhere {
		return true // the administrator who put it there decides about its names
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// acted are the verbs of the dashboard.
var acted = map[string]bool{
	"hold": true, "release": true, "flush": true, "drop": true, "fail": true, "suspend": true, "resume": true,
}

// acting does what a button of the dashboard says. Requests that another site has a
// browser make are refused.
func (p *parts) acting() http.Handler {
	return new(http.CrossOriginProtection).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o := operation{Verb: r.PostFormValue("verb"), Argument: r.PostFormValue("argument"), Reason: r.PostFormValue("reason")}
		switch {
		case !p.options.actions.speaksTo(r):
			http.Error(w, "this name is not one of the dashboard's", http.StatusForbidden)
			return
		case !acted[o.Verb] || o.Argument == "":
			http.Error(w, "unknown action", http.StatusBadRequest)
			return
		}
		var out bytes.Buffer
		if err := o.run(context.WithoutCancel(r.Context()), p.agent, &out); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}))
}

// button is what one button does.
func button(verb, argument string) operation { return operation{Verb: verb, Argument: argument} }

// subjectName is a subject as suspend and resume take it.
func subjectName(s queue.Suspension) string {
	if s.Kind == queue.OfTenant {
		return "tenant=" + s.Name
	}
	return s.Name
}
