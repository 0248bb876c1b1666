package smtp

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// length is content of which nothing but its length matters.
type length int64

func (l length) Size() int64 { return int64(l) }

// content is a Body of some length.
type content struct {
	length
	Body
}

func (c content) Size() int64 { return c.length.Size() }

// TestBackstop is how long a transaction may take as a whole.
func TestBackstop(t *testing.T) {
	const (
		backstop, reset, mail, data, rcpt, final = 1 * time.Hour, 1 * time.Minute, 2 * time.Minute, 3 * time.Minute, 5 * time.Second, 7 * time.Minute
		step                                     = backstop + reset + mail + data
	)
	for _, c := range []struct {
		size     int64
		to       int
		chunking bool
		want     time.Duration
	}{
		{0, 1, false, step + rcpt + final},
		{255, 3, false, step + 3*rcpt + final},
		{2560, 1, false, step + rcpt + final + 10*time.Second},
		{3 * blockSize, 1, false, step + rcpt + final + 3*blockSize/minRate*time.Second},
		{3 * blockSize, 1, true, step + rcpt + 4*final + 3*blockSize/minRate*time.Second},
	} {
		s := &Session{cfg: Config{Timeouts: Timeouts{Backstop: backstop, Reset: reset, Mail: mail, Data: data, Rcpt: rcpt, Final: final}}}
		s.ext.Chunking = c.chunking
		x := &exchange{s: s, t: &Transaction{To: make([]Rcpt, c.to), Body: content{length: length(c.size)}}}
		if got := x.backstop(); got != c.want {
			t.Errorf("%d octets for %d, chunking %t: %v, want %v", c.size, c.to, c.chunking, got, c.want)
		}
	}
	if d := (Timeouts{}).WithDefaults(); d.Backstop != 4*time.Hour || d.Quit != 10*time.Second {
		t.Errorf("the defaults are %+v", d)
	}
}

// TestSuspects is what may be to blame for a failure at a stage.
func TestSuspects(t *testing.T) {
	yes := func() bool { return true }
	no := func() bool { return false }
	dsn := Transaction{Return: "HDRS", EnvelopeID: "x", To: []Rcpt{{}, {Notify: "NEVER"}, {OriginalType: "rfc822"}}}
	all := OptSize | OptSubmitter | OptReturn | OptEnvelope | rcptOptions | OptPipelining | OptChunking
	for _, c := range []struct {
		name  string
		x     exchange
		t     Transaction
		p     params
		stage Stage
		want  Option
	}{
		{"nothing was said", exchange{}, Transaction{}, params{}, StageMail, 0},
		{"what MAIL had", exchange{}, dsn, params{options: all}, StageMail, OptSize | OptSubmitter | OptReturn | OptEnvelope},
		{"what MAIL could have had", exchange{}, Transaction{}, params{options: all}, StageMail, OptSize | OptSubmitter},
		{"BODY alone", exchange{}, Transaction{Convertible: yes}, params{body: "8BITMIME"}, StageMail, OptBody},
		{"BODY after the others", exchange{}, Transaction{Convertible: yes}, params{body: "8BITMIME", options: OptSize}, StageMail, OptSize},
		{"BODY that cannot be spared", exchange{}, Transaction{Convertible: no}, params{body: "8BITMIME"}, StageMail, 0},
		{"BODY that is never spared", exchange{}, Transaction{}, params{body: "8BITMIME"}, StageMail, 0},
		{"BODY of another kind", exchange{}, Transaction{Convertible: yes}, params{body: "BINARYMIME"}, StageMail, 0},
		{"what RCPT had", exchange{}, dsn, params{options: all}, StageRcpt, rcptOptions},
		{"NOTIFY", exchange{}, Transaction{To: dsn.To[1:2]}, params{options: all}, StageRcpt, OptNotify},
		{"ORCPT", exchange{}, Transaction{To: dsn.To[2:]}, params{options: all}, StageRcpt, OptOriginal},
		{"a group", exchange{grouped: true}, dsn, params{}, StageMail, OptPipelining},
		{"a group, and DATA", exchange{grouped: true}, dsn, params{}, StageData, OptPipelining},
		{"a group, and the content after it", exchange{grouped: true}, dsn, params{}, StageContent, 0},
		{"BDAT", exchange{bdat: true}, dsn, params{}, StageContent, OptChunking},
		{"the last BDAT", exchange{bdat: true}, dsn, params{}, StageFinal, OptChunking},
		{"BDAT that was not said yet", exchange{bdat: true}, dsn, params{}, StageData, 0},
		{"content that went along", exchange{early: true}, Transaction{}, params{}, StageMail, OptChunking | OptPipelining},
		{"content that went along, at its end", exchange{early: true, grouped: true, bdat: true}, Transaction{}, params{}, StageFinal, OptChunking | OptPipelining},
	} {
		c.x.t, c.x.p = &c.t, c.p
		if got := c.x.suspects(c.stage); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestConclude is what becomes of recipients that no reply has settled.
func TestConclude(t *testing.T) {
	begun := []byte("MAIL")
	lost := func() *Error { return &Error{Stage: StageRcpt, Kind: Closed} }
	group := params{options: OptPipelining}
	for _, c := range []struct {
		name        string
		x           exchange
		before      []State
		own         *Error // of the first recipient
		e           *Error
		after       string
		err         bool   // the result has one
		errs        string // which recipients have it
		unknown     bool
		stale       bool
		maybe       bool
		doubt, next Option // of the result
	}{
		{name: "nothing went wrong", x: exchange{env: begun}, before: []State{Delivered, again, NotTried, Refused}, after: "delivered, not tried, not tried, refused", errs: "0000"},
		{name: "all are settled", x: exchange{env: begun}, before: []State{Delivered, Refused, NotTried}, e: lost(), after: "delivered, refused, not tried", errs: "000"},
		{name: "nothing was begun", before: []State{NotTried, offered, NotTried}, own: &Error{Kind: Unfit}, e: &Error{Stage: StageMail, Kind: Timeout}, after: "not tried, not tried, not tried", err: true, errs: "211"},
		{name: "lost", x: exchange{env: begun}, before: []State{accepted, offered, hungOn, Refused}, e: lost(), after: "failed, failed, failed, refused", err: true, errs: "1110"},
		{name: "lost, and one is to be offered again", x: exchange{env: begun}, before: []State{again, Refused}, e: lost(), after: "failed, refused", err: true, errs: "10"},
		{name: "lost once all was sent", x: exchange{env: begun, sent: true}, before: []State{accepted, hungOn, NotTried}, e: lost(), after: "unknown, failed, not tried", err: true, errs: "110", unknown: true},
		{name: "lost once all was sent, and certainly not taken", x: exchange{env: begun, sent: true, certain: true}, before: []State{accepted}, e: lost(), after: "failed", err: true, errs: "1"},
		{name: "lost once all was sent, and MAIL refused", x: exchange{env: begun, sent: true, refused: true}, before: []State{accepted}, e: lost(), after: "failed", err: true, errs: "1"},
		{name: "a server that closes", x: exchange{env: begun, sent: true, hung: &Error{Stage: StageRcpt, Reply: Reply{Code: 421}}}, before: []State{accepted}, after: "failed", err: true, errs: "1"},
		{name: "a server that says so and goes on", x: exchange{env: begun, sent: true, goesOn: true, hung: &Error{Stage: StageRcpt, Reply: Reply{Code: 421}}}, before: []State{accepted}, after: "unknown", err: true, errs: "1", unknown: true},
		{name: "a server that refused RSET", x: exchange{env: begun, sent: true, hung: &Error{Stage: StageReset, Reply: Reply{Code: 500}}}, before: []State{accepted}, after: "unknown", err: true, errs: "1", unknown: true},
		{name: "no good from the start", x: exchange{env: begun, warm: true, grouped: true, p: group}, before: []State{offered, hungOn}, e: lost(), after: "not tried, not tried", err: true, errs: "11", stale: true},
		{name: "no good, and the content was out", x: exchange{env: begun, warm: true, early: true, sent: true}, before: []State{offered}, e: lost(), after: "not tried", err: true, errs: "1", stale: true, maybe: true},
		{name: "no good, and the content was certainly not taken", x: exchange{env: begun, warm: true, early: true, sent: true, certain: true}, before: []State{offered}, e: lost(), after: "not tried", err: true, errs: "1", stale: true},
		{name: "it had answered", x: exchange{env: begun, warm: true, answers: 1}, before: []State{offered}, e: lost(), after: "failed", err: true, errs: "1"},
		{name: "a new one", x: exchange{env: begun}, before: []State{offered}, e: lost(), after: "failed", err: true, errs: "1"},
		{name: "one that does not answer", x: exchange{env: begun, warm: true}, before: []State{offered}, e: &Error{Stage: StageMail, Kind: Timeout}, after: "failed", err: true, errs: "1"},
		{name: "a group is in doubt", x: exchange{env: begun, grouped: true, p: group}, before: []State{offered}, e: lost(), after: "failed", err: true, errs: "1", next: OptPipelining},
		{name: "nothing that was said is, where nothing was", x: exchange{grouped: true, p: group}, before: []State{offered}, e: lost(), after: "not tried", err: true, errs: "1"},
		{name: "nor where the failure is ours", x: exchange{env: begun, grouped: true, p: group}, before: []State{offered}, e: &Error{Stage: StageRcpt, Kind: Local}, after: "failed", err: true, errs: "1"},
		{name: "nor at RSET", x: exchange{env: begun, grouped: true, p: group}, before: []State{offered}, e: &Error{Stage: StageReset, Kind: Timeout}, after: "failed", err: true, errs: "1"},
		{name: "what was refused just now is", x: exchange{env: begun, s: &Session{refused: OptSize | OptReturn}}, before: []State{offered}, e: lost(), after: "failed", err: true, errs: "1", doubt: OptSize | OptReturn, next: OptSize | OptReturn},
		{name: "but not for a failure of ours", x: exchange{env: begun, s: &Session{refused: OptSize | OptReturn}}, before: []State{offered}, e: &Error{Stage: StageRcpt, Kind: Local}, after: "failed", err: true, errs: "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := c.x
			if x.s == nil {
				x.s = &Session{}
			}
			res := &Result{Rcpts: make([]RcptResult, len(c.before))}
			x.res, x.t, x.onTrial = res, &Transaction{}, OptReturn
			for i, state := range c.before {
				res.Rcpts[i].State = state
			}
			res.Rcpts[0].Err = c.own
			e := c.e
			if e == nil {
				e = x.hung
			}
			x.conclude(c.e)
			var after []string
			errs := ""
			for _, rr := range res.Rcpts {
				after = append(after, rr.State.String())
				switch rr.Err {
				case nil:
					errs += "0"
				case e:
					errs += "1"
				default:
					errs += "2"
				}
			}
			if got := strings.Join(after, ", "); got != c.after || errs != c.errs {
				t.Errorf("%s, with errors %s; want %s, %s", got, errs, c.after, c.errs)
			}
			if (res.Err != nil) != c.err || c.err && res.Err != e || res.Unknown != c.unknown || res.Stale != c.stale || res.MaybeSent != c.maybe {
				t.Errorf("%v, unknown %t, stale %t, perhaps sent %t", res.Err, res.Unknown, res.Stale, res.MaybeSent)
			}
			if res.Doubt.Now != c.doubt || res.Doubt.Next != c.next || x.s.refused&OptReturn != 0 {
				t.Errorf("in doubt now %v, next %v, refused %v; want %v, %v", res.Doubt.Now, res.Doubt.Next, x.s.refused, c.doubt, c.next)
			}
		})
	}
}

// TestResultsMemory is when the results of one transaction have the memory of the last.
func TestResultsMemory(t *testing.T) {
	for _, c := range []struct {
		had, want int
		same      bool
	}{{4, 4, true}, {4, 3, true}, {4, 5, false}, {keptRcpts, 1, true}, {keptRcpts + 1, 1, false}} {
		s := &Session{res: Result{Rcpts: make([]RcptResult, c.had)}}
		s.res.Rcpts[0].State = Refused
		if list := s.rcptResults(c.want); len(list) != c.want || list[0].State != NotTried || (&list[0] == &s.res.Rcpts[0]) != c.same {
			t.Errorf("%d after %d: %+v, in the same memory: %t", c.want, c.had, list[0], !c.same)
		}
	}
}

// TestDoubtHello is what may be wrong where EHLO came to grief.
func TestDoubtHello(t *testing.T) {
	lost := Error{Stage: StageHello, Kind: Closed}
	for _, c := range []struct {
		name    string
		tls     bool
		silent  int64
		total   int64
		without Option
		e       Error
		want    Option
	}{
		{"EHLO", false, 0, 0, 0, lost, OptEHLO},
		{"HELO", false, 0, 0, OptEHLO, lost, 0},
		{"our own fault", false, 0, 0, 0, Error{Stage: StageHello, Kind: Canceled}, 0},
		{"something before it", false, 0, 0, 0, Error{Stage: StageIdle, Kind: Closed}, 0},
		{"TLS that has said nothing", true, 100, 100, 0, lost, OptTLS},
		{"TLS that has, as in clear", true, 0, 0, 0, lost, OptTLS},
		{"TLS that has said something", true, 100, 101, 0, lost, OptEHLO},
		{"TLS from the start", true, -1, -1, 0, lost, OptEHLO},
	} {
		s := &Session{silent: c.silent, without: c.without}
		s.rd.total = c.total
		if c.tls {
			s.tls = &tls.Conn{}
		}
		d := s.doubtHello(&c.e)
		if d.Now|d.Next != c.want {
			t.Errorf("%s: %+v, want %v", c.name, d, c.want)
		}
	}
}

// TestUnknownCommand is which refusals of BDAT are about the command.
func TestUnknownCommand(t *testing.T) {
	for text, want := range map[string]bool{
		"499": false, "500": true, "502": true, "504": true, "505": false, "550": false, "555": true, "451": false,
		"500 5.5.3": false, "550 5.5.1": true, "500 5.7.1": false, "450 4.5.1": false,
	} {
		var r Reply
		if _, err := fmt.Sscan(text, &r.Code, &r.Enhanced); err != nil && r.Code == 0 {
			t.Fatal(err)
		}
		if got := isUnknownCommand(&r); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}

// proves is a client whose initial response proves something, or not.
type proves bool

func (proves) Start() (string, []byte, error)    { return "X", nil, nil }
func (proves) Next(given []byte) ([]byte, error) { return given, nil }
func (p proves) Proves() bool                    { return bool(p) }

// TestInitialRefused is which refusals may be about the initial response.
func TestInitialRefused(t *testing.T) {
	for _, r := range []Reply{{Code: 501}, {Code: 504}, {Code: 500, Enhanced: "5.5.2"}, {Code: 554}} {
		for _, client := range []proves{true, false} {
			if a := (&authentication{client: client}); !a.initialRefused(&r) {
				t.Errorf("%d %s is not", r.Code, r.Enhanced)
			}
		}
	}
	for _, code := range []int{421, 454, 334, 235, 530, 534, 538} {
		for _, client := range []proves{true, false} {
			if a := (&authentication{client: client}); a.initialRefused(&Reply{Code: code}) {
				t.Errorf("%d is", code)
			}
		}
	}
	for _, r := range []Reply{{Code: 535}, {Code: 525}, {Code: 550, Enhanced: "5.7.8"}} {
		if (&authentication{client: proves(true)}).initialRefused(&r) || !(&authentication{client: proves(false)}).initialRefused(&r) {
			t.Errorf("%v is about a proof, where there was one", r.Code)
		}
	}
}

// TestNames is what is shown of kinds, states, stages and replies.
func TestNames(t *testing.T) {
	for want, got := range map[string]fmt.Stringer{
		"refused": Replied, "AUTH does not work": BadAuth, "unknown": BadAuth + 1, "not tried": NotTried, "?": Unknown + 1,
		stageNames[len(stageNames)-1]: Stage(len(stageNames) - 1),
	} {
		if got.String() != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if Unknown.String() != "unknown" || Stage(len(stageNames)).String() == stageNames[len(stageNames)-1] {
		t.Error("the last state, or no stage")
	}
	if lines := (&Reply{Text: "x"}).Lines(); lines != nil {
		t.Errorf("no reply has the lines %q", lines)
	}
	if lines := (&Reply{Code: 250, Text: "a\nb"}).Lines(); !slices.Equal(lines, []string{"a", "b"}) {
		t.Errorf("a reply has the lines %q", lines)
	}
	if OptSize.String() != "SIZE" || Option(0).String() != "" {
		t.Errorf("%q and %q", OptSize, Option(0))
	}
}
