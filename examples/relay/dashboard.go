package main

import (
	"html/template"
	"net/http"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
)

// listed is how many messages and destinations the dashboard shows at most.
const listed = 100

// board is what the dashboard shows.
type board struct {
	Name         string
	Now          time.Time
	Total        queue.Totals
	Stats        delivery.Stats
	Counts       []count
	Destinations []queue.Destination
	Messages     []entry
	More         bool
	Acts         bool // it has buttons
	Suspended    []queue.Suspension
}

// count is a kind of event and how often it has happened.
type count struct {
	Event string
	N     uint64
}

// dashboard shows the queue as it is. With -actions it has buttons.
func (p *parts) dashboard(w http.ResponseWriter, r *http.Request) {
	b := board{Name: p.server.Name, Now: time.Now(), Stats: p.agent.Stats(), Acts: p.options.actions != showOnly}
	if b.Acts && !p.options.actions.speaksTo(r) {
		http.Error(w, "this name is not one of the dashboard's", http.StatusForbidden)
		return
	}
	var err error
	if b.Total, err = queue.Total(r.Context(), p.queue); err == nil {
		b.Destinations, err = queue.Survey(r.Context(), p.queue, "", listed)
	}
	var page queue.Page
	if err == nil {
		page, err = queue.List(r.Context(), p.queue, queue.ListOptions{Max: listed})
	}
	if err == nil {
		b.Suspended, err = queue.Suspensions(r.Context(), p.queue, b.Now)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	for i := range page.Entries {
		b.Messages = append(b.Messages, entryOf(&page.Entries[i]))
	}
	b.More = page.Next != ""
	for k, n := range p.agent.Stats().Counts {
		b.Counts = append(b.Counts, count{delivery.EventKind(k).String(), n})
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = boardPage.Execute(w, b)
}

var boardPage = template.Must(template.New("board").Funcs(template.FuncMap{"stamp": stamp, "act": button, "subject": subjectName}).Parse(
	`{{define "act"}}<form method="post" action="/act"><input type="hidden" name="argument" value="{{.Argument}}">` +
		`<button name="verb" value="{{.Verb}}">{{.Verb}}</button></form>{{end}}<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Name}}: queue</title>
<meta http-equiv="refresh" content="10">
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100%; margin-bottom: 2em }
th, td { text-align: left; padding: .2em .8em .2em 0; border-bottom: 1px solid #ddd; vertical-align: top }
td.n, th.n { text-align: right } small { color: #666 } form { display: inline }
</style></head><body>
<h1>{{.Name}}</h1>
<p>{{.Total.Messages}} messages wait ({{.Total.Deliveries}} deliveries, {{.Total.Bytes}} bytes).
{{.Stats.Deliveries}} deliveries are under way over {{.Stats.Sessions}} sessions.
<small>{{stamp .Now}}</small></p>
<table><tr>{{range .Counts}}<th class="n">{{.Event}}</th>{{end}}</tr>
<tr>{{range .Counts}}<td class="n">{{.N}}</td>{{end}}</tr></table>
{{if .Suspended}}<h2>Suspended</h2>
<table>{{range .Suspended}}<tr><td>{{.Kind}}</td><td>{{.Name}}</td><td>{{if not .Until.IsZero}}until {{stamp .Until}}{{end}}</td><td>{{.Reason}}</td>
{{if $.Acts}}<td>{{with subject .}}{{template "act" (act "resume" .)}}{{end}}</td>{{end}}</tr>
{{end}}</table>{{end}}
<h2>Destinations</h2>
<table><tr><th>Destination</th><th class="n">waiting</th><th class="n">sending</th><th class="n">on hold</th><th class="n">bytes</th><th>oldest</th><th>postponed until</th></tr>
{{range .Destinations}}<tr><td>{{.Name}}</td><td class="n">{{.Deliveries}}</td><td class="n">{{.Leased}}</td><td class="n">{{.Held}}</td>
<td class="n">{{.Bytes}}</td><td>{{stamp .Oldest}}</td><td>{{if not .Postponed.IsZero}}{{stamp .Postponed}}{{end}}</td>
{{if $.Acts}}<td>{{template "act" (act "flush" .Name)}}{{template "act" (act "suspend" .Name)}}</td>{{end}}</tr>
{{else}}<tr><td colspan="7">none</td></tr>{{end}}</table>
<h2>Messages</h2>
<table><tr><th>Id</th><th>queued</th><th>from</th><th class="n">bytes</th><th>recipients</th></tr>
{{range .Messages}}<tr><td>{{.ID}}{{if .Held}}<br><small>on hold</small>{{end}}</td><td>{{stamp .Queued}}</td><td>&lt;{{.From}}&gt;</td><td class="n">{{.Size}}</td>
<td>{{range .Recipients}}{{.Address}} <small>{{.Status}}, {{.Attempts}} attempts, next {{stamp .Next}}<br>{{.Last}}</small><br>{{end}}</td>
{{if $.Acts}}<td>{{if .Held}}{{template "act" (act "release" .ID)}}{{else}}{{template "act" (act "hold" .ID)}}{{end}}
{{template "act" (act "fail" .ID)}}{{template "act" (act "drop" .ID)}}</td>{{end}}</tr>
{{else}}<tr><td colspan="5">none</td></tr>{{end}}</table>
{{if .More}}<p>The oldest are shown; relay queue list shows all.</p>{{end}}
</body></html>
`))
