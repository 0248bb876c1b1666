package mx_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// What a DNS server, or the path to it, cannot do, times the forms in which that
// shows: the question is answered in this attempt or the next, within bounds, and
// what was found out is remembered for a time.

// many is zone text of n MX records.
func many(n int) string {
	return fmt.Sprintf("$ORIGIN e.test.\n$TTL 60\n@ SOA ns root 1 2 3 4 5\n$GENERATE 1-%d @ 60 MX $ a-rather-long-name-$\n", n)
}

// form is how failing at something shows.
type form struct {
	name  string
	fault mxtest.Fault
}

var (
	codes = []form{
		{"FORMERR", mxtest.FormErr}, {"FORMERR in a bare header", mxtest.BareFormErr}, {"NOTIMP", mxtest.NotImp},
		{"SERVFAIL", mxtest.ServFail}, {"REFUSED", mxtest.Refused}, {"BADVERS", mxtest.BadVers},
	}
	silence = []form{{"silence", mxtest.Timeout}, {"wrong id", mxtest.WrongID}, {"wrong question", mxtest.WrongQuestion}, {"noise", mxtest.Garbage}}
	damage  = []form{
		{"a cut response", mxtest.Cut}, {"a record that is cut", mxtest.Malformed}, {"records that are not counted", mxtest.Uncounted},
		{"a lost record", mxtest.LastLost}, {"records in another section", mxtest.OtherSection}, {"records of another name", mxtest.OtherName},
		{"a record of another type", mxtest.OtherType}, {"records of another class", mxtest.OtherClass}, {"a contradiction", mxtest.Contradicts},
		{"a record that cannot be read", mxtest.LastBroken},
	}
	empties = []form{{"an empty response", mxtest.Empty}, {"an empty response of a server that does not recurse", mxtest.NotServed}}
	resets  = []form{{"a reset", mxtest.Reset}}
)

// lack is something that a server or a path cannot do.
type lack struct {
	name    string
	records int // how many there are, and all must come
	rules   func(f mxtest.Fault) []mxtest.Rule
	forms   []form
	means   []mx.Means // of which one is found to be missing; none where nothing is
}

var lacks = []lack{
	{
		"EDNS", 3, func(f mxtest.Fault) []mxtest.Rule { return []mxtest.Rule{{EDNS: mxtest.WithEDNS, Fault: f}} },
		slices.Concat(codes, silence, damage, empties, resets, []form{{"the OPT record among the answers", mxtest.Misplaced}}), []mx.Means{mx.EDNS},
	},
	{
		"UDP responses above 512 octets", 20, func(f mxtest.Fault) []mxtest.Rule { return []mxtest.Rule{{Over: 512, Fault: f}} },
		slices.Concat(silence, damage, resets), []mx.Means{mx.EDNS},
	},
	{
		"UDP responses above what the path carries", 8, func(f mxtest.Fault) []mxtest.Rule { return []mxtest.Rule{{Over: 100, Fault: f}} },
		slices.Concat(silence, damage, resets), []mx.Means{mx.EDNS, mx.UDP},
	},
	{
		"UDP", 3, func(f mxtest.Fault) []mxtest.Rule { return []mxtest.Rule{{Transport: "udp", Fault: f}} },
		slices.Concat(silence, damage, resets), []mx.Means{mx.EDNS, mx.UDP},
	},
	{
		"DNS over TCP", 40, func(f mxtest.Fault) []mxtest.Rule { return []mxtest.Rule{{Transport: "tcp", Fault: f}} },
		slices.Concat(codes, silence, damage, empties, resets, []form{{"a closed connection", mxtest.Hangup}}), []mx.Means{mx.TCP},
	},
}

func TestWhatServersCannotDo(t *testing.T) {
	cells := 0
	for _, lack := range lacks {
		for _, form := range lack.forms {
			cells++
			t.Run("MX-5 "+lack.name+" fails as "+form.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { withoutIt(t, lack, form) })
			})
		}
	}
	t.Logf("%d things a server cannot do, %d cells", len(lacks), cells)
}

// withoutIt is one cell.
func withoutIt(t *testing.T, lack lack, form form) {
	dns := &mxtest.DNS{Zone: many(lack.records), Rules: lack.rules(form.fault)}
	missing := make(map[mx.Means]time.Duration)
	client := &mx.Client{Servers: []mx.Server{{Addr: first}}, Dial: dns.Dial, Trace: &mx.Trace{
		Without: func(server string, m mx.Means, why error, remain time.Duration) {
			if server != first || why == nil || remain <= 0 {
				t.Errorf("%s without %v, because of %v, for %v", server, m, why, remain)
			}
			missing[m] = remain
		},
	}}
	ask := func(when string, most time.Duration, queries int) {
		t.Helper()
		dns.Forget()
		began := time.Now()
		a, err := client.Resolve(t.Context(), "e.test", mx.TypeMX)
		if err != nil || len(a.MX) != lack.records || a.Unreadable > 0 {
			t.Errorf("%s: %d of %d records, %v", when, len(a.MX), lack.records, err)
		}
		if took := time.Since(began); took > most {
			t.Errorf("%s: it took %v, want %v at most", when, took, most)
		}
		if n := len(dns.Queries()); n > queries {
			t.Errorf("%s: %d queries, want %d at most: %+v", when, n, queries, dns.Queries())
		}
	}
	ask("at first", 15*time.Second, 6)
	for _, m := range lack.means {
		if missing[m] == 0 {
			t.Errorf("it was not found out that %v does not work: %v", m, missing)
		}
	}
	if len(missing) > len(lack.means) {
		t.Errorf("more was found missing than is: %v", missing)
	}
	ask("at once after that", 0, 2)
	time.Sleep(9 * time.Minute)
	ask("nine minutes after that", 0, 2)
	time.Sleep(2 * time.Hour)
	ask("when it is forgotten", 15*time.Second, 6)
	// The server or the path is mended: what it can do is used again.
	if err := dns.Set(mxtest.Rule{EDNS: dns.Rules[0].EDNS, Over: dns.Rules[0].Over, Transport: dns.Rules[0].Transport}); err != nil {
		t.Fatal(err)
	}
	ask("when it is mended", 15*time.Second, 3)
	time.Sleep(2 * time.Hour)
	ask("when that is noticed", 0, 2)
	if q := dns.Queries()[0]; q.Transport != "udp" || q.UDPSize != 1232 {
		t.Errorf("the mended server is asked by %+v", q)
	}
}

// TestWhatServersCannotDoAtAll: where nothing is left, the error says what was tried.
func TestWhatServersCannotDoAtAll(t *testing.T) {
	everywhere := func(f mxtest.Fault) []mxtest.Rule { return []mxtest.Rule{{Fault: f}} }
	tests := []struct {
		name    string
		records int
		rules   []mxtest.Rule
		kind    mx.ResolveErrorKind
		says    []string
	}{
		{"silence in every way", 3, everywhere(mxtest.Timeout), mx.Timeout, []string{"without EDNS: no response", "over TCP: no response"}},
		{"damage in every way", 3, everywhere(mxtest.Cut), mx.Malformed, []string{"with EDNS: message ends", "without EDNS: message ends", "over TCP: message ends"}},
		{"a reset in every way", 3, everywhere(mxtest.Reset), mx.Unreachable, []string{"without EDNS: ", "over TCP: "}},
		{"SERVFAIL in every way", 3, everywhere(mxtest.ServFail), mx.ServFail, nil},
		{"no TCP, and too much for UDP", 200, []mxtest.Rule{{Transport: "tcp", Fault: mxtest.Reset}}, mx.Truncated,
			[]string{"with EDNS: truncated", "over TCP: ", "connection reset", "over UDP at any size: truncated"}},
		{"no TCP, and a path that loses large datagrams", 60, []mxtest.Rule{{Transport: "tcp", Fault: mxtest.Timeout}, {Over: 1000, Fault: mxtest.Timeout}}, mx.Truncated,
			[]string{"without EDNS: truncated", "over TCP: no response", "over UDP at any size: no response"}},
	}
	for _, test := range tests {
		t.Run("MX-5, MX-35 "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dns := &mxtest.DNS{Zone: many(test.records), Rules: test.rules}
				client := &mx.Client{Servers: []mx.Server{{Addr: first}}, Dial: dns.Dial, Trace: &mx.Trace{
					Without: func(_ string, m mx.Means, _ error, _ time.Duration) {
						if test.kind != mx.Truncated {
							t.Errorf("found out that %v does not work from a server that does not answer", m)
						}
					},
				}}
				began := time.Now()
				_, err := client.Resolve(t.Context(), "e.test", mx.TypeMX)
				re := wantFailure(t, err, test.kind)
				for _, text := range test.says {
					if !strings.Contains(re.Error(), text) {
						t.Errorf("error is %q, want %q in it", re, text)
					}
				}
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("it took %v, want twice the time of two attempts at most", took)
				}
				if n := len(dns.Queries()); n > 8 {
					t.Errorf("%d queries, want four for each of two attempts at most", n)
				}
				if re.NoServer() != (test.kind == mx.Timeout || test.kind == mx.Unreachable) {
					t.Errorf("NoServer is %v of %v", re.NoServer(), re)
				}
			})
		})
	}
}

// TestWaysOfAsking is what the matrix does not show, a case each: who was asked how, and
// what came of it.
func TestWaysOfAsking(t *testing.T) {
	const record = "e.test. 60 IN MX 10 m.e.test."
	type answer = func(t *testing.T, x exchange) *dns.Msg
	good := func(t *testing.T, x exchange) *dns.Msg { return x.reply(t, 0, record) }
	cut := func(t *testing.T, x exchange) *dns.Msg {
		m := x.reply(t, 0)
		m.Truncated = true
		return m
	}
	code := func(rcode int) answer {
		return func(t *testing.T, x exchange) *dns.Msg {
			m := x.reply(t, rcode)
			m.Extra = nil
			return m
		}
	}
	for _, c := range []struct {
		name    string
		tcpOnly bool
		serve   map[string]answer   // by how it is asked; silence otherwise
		slow    time.Duration       // each response
		want    mx.ResolveErrorKind // NoAnswer is the record
		asked   []string
		most    time.Duration
	}{
		{"truncated over TCP, too", false, map[string]answer{"udp 1232": cut, "tcp 1232": cut, "udp 4096": good}, 0,
			mx.NoAnswer, []string{"udp 1232", "tcp 1232", "udp 4096"}, 0},
		{"a code beside TC is a code", false, map[string]answer{"udp 1232": func(t *testing.T, x exchange) *dns.Msg {
			m := x.reply(t, dns.RcodeServerFailure)
			m.Truncated = true
			return m
		}}, 0, mx.ServFail, []string{"udp 1232"}, 0},
		{"an absence that somebody speaks for is not asked for again", false, map[string]answer{"udp 1232": func(t *testing.T, x exchange) *dns.Msg {
			m := x.reply(t, 0, "authority", soa)
			m.Extra = nil
			return m
		}}, 0, mx.NoAnswer, []string{"udp 1232"}, 0},
		{"MX-36 bogus over TCP is believed", false, map[string]answer{"udp 1232": cut, "tcp 1232": func(t *testing.T, x exchange) *dns.Msg {
			m := x.reply(t, dns.RcodeServerFailure)
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus}}
			return m
		}}, 0, mx.Bogus, []string{"udp 1232", "tcp 1232"}, 0},
		{"MX-7 aliases in a circle over TCP", false, map[string]answer{"udp 1232": cut, "tcp 1232": func(t *testing.T, x exchange) *dns.Msg {
			return x.reply(t, 0, "e.test. 60 IN CNAME e.test.")
		}}, 0, mx.AliasLoop, []string{"udp 1232", "tcp 1232"}, 0},
		{"TCP alone, without EDNS", true, map[string]answer{"tcp 1232": code(dns.RcodeFormatError), "tcp 0": good}, 0,
			mx.NoAnswer, []string{"tcp 1232", "tcp 0"}, 0},
		{"TCP alone, and never UDP", true, map[string]answer{"tcp 1232": func(t *testing.T, x exchange) *dns.Msg {
			return x.reply(t, 0, "f.test. 60 IN MX 1 m.f.test.")
		}, "tcp 0": cut, "udp 4096": good}, 0, mx.Truncated, []string{"tcp 1232", "tcp 0"}, 0},
		{"TCP alone, and silence", true, nil, 0, mx.Timeout, []string{"tcp 1232", "tcp 0"}, 10 * time.Second},
		{"TCP is asked as UDP was", false, map[string]answer{"udp 1232": code(dns.RcodeFormatError), "udp 0": cut, "tcp 0": good}, 0,
			mx.NoAnswer, []string{"udp 1232", "udp 0", "tcp 0"}, 0},
		{"a code over TCP, with EDNS", false, map[string]answer{"udp 1232": cut, "tcp 1232": func(t *testing.T, x exchange) *dns.Msg {
			return x.reply(t, dns.RcodeRefused)
		}, "udp 4096": good}, 0, mx.NoAnswer, []string{"udp 1232", "tcp 1232", "udp 4096"}, 0},
		{"nothing over TCP without EDNS", false, map[string]answer{
			"udp 1232": code(dns.RcodeFormatError), "udp 0": cut, "tcp 0": code(0), "udp 4096": good,
		}, 0, mx.NoAnswer, []string{"udp 1232", "udp 0", "tcp 0", "udp 4096"}, 0},
		{"every response at the last moment", false, map[string]answer{"udp 1232": code(dns.RcodeFormatError), "udp 0": cut, "tcp 0": cut, "udp 4096": cut}, 4900 * time.Millisecond,
			mx.Truncated, []string{"udp 1232", "udp 0", "tcp 0"}, 10 * time.Second},
	} {
		t.Run("MX-5, MX-35 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l log
				client := clientOf(t, func(x exchange) {
					how := x.network + " 0"
					if opt := x.query.IsEdns0(); opt != nil {
						how = fmt.Sprint(x.network, " ", opt.UDPSize())
					}
					l.around(how, func(x exchange) {
						if serve := c.serve[how]; serve != nil {
							time.Sleep(c.slow)
							x.send(pack(t, serve(t, x)))
						}
					})(x)
				})
				client.TCPOnly = c.tcpOnly
				began := time.Now()
				_, err := client.Resolve(t.Context(), "e.test", mx.TypeMX)
				if c.want == mx.NoAnswer && err != nil {
					t.Error(err)
				} else if c.want != mx.NoAnswer {
					wantFailure(t, err, c.want)
				}
				if took := time.Since(began); took > c.most {
					t.Errorf("it took %v, want %v at most", took, c.most)
				}
				if asked := l.take(); !slices.Equal(asked, c.asked) {
					t.Errorf("asked %q, want %q", asked, c.asked)
				}
				time.Sleep(time.Minute) // until the servers are done
			})
		})
	}
}

// TestNothingIsLearntOfFailures: a server that fails without EDNS as it did with it does
// not need to be asked without.
func TestNothingIsLearntOfFailures(t *testing.T) {
	for _, rcode := range []int{dns.RcodeServerFailure, dns.RcodeRefused} {
		t.Run("MX-5 "+dns.RcodeToString[rcode], func(t *testing.T) {
			client := clientOf(t, func(x exchange) {
				m := x.reply(t, rcode)
				m.Extra = nil
				x.send(pack(t, m))
			})
			client.Trace = &mx.Trace{Without: func(_ string, m mx.Means, why error, _ time.Duration) { t.Errorf("without %v: %v", m, why) }}
			if _, err := client.Resolve(t.Context(), "e.test", mx.TypeMX); err == nil {
				t.Error("there is an answer")
			}
		})
	}
}

// TestCutBehindTheAnswers: a message that ends too soon, though behind its answers, is
// asked for in another way, and used if there is none.
func TestCutBehindTheAnswers(t *testing.T) {
	for better, want := range map[bool]int{true: 2, false: 1} {
		t.Run(fmt.Sprintf("MX-5 a better one: %v", better), func(t *testing.T) {
			client := clientOf(t, func(x exchange) {
				if x.query.IsEdns0() == nil && better {
					x.send(pack(t, x.reply(t, 0, "e.test. 60 IN MX 1 a.test.", "e.test. 60 IN MX 2 b.test.")))
					return
				}
				w := pack(t, x.reply(t, 0, "e.test. 60 IN MX 1 a.test.", "authority", "e.test. 60 IN NS ns.e.test."))
				x.send(w[:len(w)-14]) // the OPT record, and a bit
			})
			if a, err := client.Resolve(t.Context(), "e.test", mx.TypeMX); err != nil || len(a.MX) != want {
				t.Errorf("%d records, %v; want %d", len(a.MX), err, want)
			}
		})
	}
}

// TestWhatIsRememberedMayBeWrong: a server that is asked in the way it once needed, and
// does not take that any more, is asked in the others at once.
func TestWhatIsRememberedMayBeWrong(t *testing.T) {
	steps := func(t *testing.T, records int, attempts int, steps ...[]mxtest.Rule) *mxtest.DNS {
		dns := &mxtest.DNS{Zone: many(records)}
		now := dns
		client := &mx.Client{Servers: []mx.Server{{Addr: first}}, Attempts: attempts, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return now.Dial(ctx, network, address)
		}}
		for i, rules := range steps {
			now = &mxtest.DNS{Zone: many(records), Rules: rules}
			a, err := client.Resolve(t.Context(), "e.test", mx.TypeMX)
			if i > 0 && (err != nil || len(a.MX) != records) {
				t.Errorf("step %d: %d records, %v", i+1, len(a.MX), err)
			}
		}
		return now
	}
	noPlain := []mxtest.Rule{{EDNS: mxtest.WithoutEDNS, Fault: mxtest.FormErr}}
	t.Run("MX-5 EDNS", func(t *testing.T) {
		last := steps(t, 3, 2, []mxtest.Rule{{EDNS: mxtest.WithEDNS, Fault: mxtest.FormErr}}, noPlain, noPlain)
		if q := last.Queries(); len(q) != 1 || q[0].UDPSize == 0 {
			t.Errorf("in the end it was asked by %+v", q)
		}
	})
	t.Run("MX-5 EDNS, in doubt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			last := steps(t, 3, 1, []mxtest.Rule{{Fault: mxtest.Timeout}}, noPlain, noPlain)
			if q := last.Queries(); len(q) != 1 || q[0].UDPSize == 0 {
				t.Errorf("in the end it was asked by %+v", q)
			}
		})
	})
	t.Run("MX-35 TCP", func(t *testing.T) {
		steps(t, 40, 2, []mxtest.Rule{{Transport: "tcp", Fault: mxtest.Reset}}, []mxtest.Rule{{Over: 1300, Fault: mxtest.Truncated}})
	})
	t.Run("MX-35 EDNS is not what was missing", func(t *testing.T) {
		steps(t, 40, 2, []mxtest.Rule{{Transport: "udp", EDNS: mxtest.WithEDNS, Fault: mxtest.Cut, Times: 1}, {Transport: "tcp", Fault: mxtest.Reset}},
			[]mxtest.Rule{{EDNS: mxtest.WithoutEDNS, Fault: mxtest.Timeout}, {Transport: "tcp", Fault: mxtest.Timeout}})
	})
}

// TestLackOfEDNSKeepsValidation: what a trusted server vouches for does not hang on
// EDNS, and neither does what it finds bogus become a fact.
func TestLackOfEDNSKeepsValidation(t *testing.T) {
	t.Run("MX-36 AD without EDNS", func(t *testing.T) {
		dns := &mxtest.DNS{Zone: many(3), Signed: map[string]bool{".": true}, Rules: []mxtest.Rule{{EDNS: mxtest.WithEDNS, Fault: mxtest.FormErr}}}
		client := &mx.Client{Servers: []mx.Server{{Addr: first, TrustAD: true}}, Dial: dns.Dial}
		if a, err := client.Resolve(t.Context(), "e.test", mx.TypeMX); err != nil || !a.Secure {
			t.Errorf("answer is %+v, %v; want a secure one", a, err)
		}
	})
	t.Run("MX-36 bogus without EDNS", func(t *testing.T) {
		dns := &mxtest.DNS{Zone: many(3), Rules: []mxtest.Rule{{EDNS: mxtest.WithEDNS, Fault: mxtest.FormErr}, {Fault: mxtest.Bogus}}}
		client := &mx.Client{Servers: []mx.Server{{Addr: first, TrustAD: true}}, Dial: dns.Dial}
		a, err := client.Resolve(t.Context(), "e.test", mx.TypeMX)
		if err == nil {
			t.Fatalf("answer is %+v, want a failure", a)
		}
		wantFailure(t, err, mx.ServFail)
	})
}

// TestImpatientResolvConf: with one attempt a question, what the first question found
// out serves the second.
func TestImpatientResolvConf(t *testing.T) {
	for _, lack := range lacks {
		t.Run("MX-5 "+lack.name+" fails as silence", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dns := &mxtest.DNS{Zone: many(lack.records), Rules: lack.rules(mxtest.Timeout)}
				client := &mx.Client{Servers: []mx.Server{{Addr: first}}, Dial: dns.Dial, Attempts: 1, Timeout: time.Second}
				var err error
				for range 3 { // at the schedule's pace
					if _, err = client.Resolve(t.Context(), "e.test", mx.TypeMX); err == nil {
						return
					}
					time.Sleep(5 * time.Minute)
				}
				t.Errorf("no answer at the third time: %v", err)
			})
		})
	}
}

// TestOneServerOfTwoCannot: a server in trouble does not keep the other from being
// asked, and what one cannot do is not held against the other.
func TestOneServerOfTwoCannot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := &mxtest.DNS{Zone: many(20), Rules: []mxtest.Rule{{EDNS: mxtest.WithEDNS, Fault: mxtest.FormErr}, {Fault: mxtest.ServFail, Times: 1}}}
		good := &mxtest.DNS{Zone: many(20)}
		client := overDNS(old, good).Resolver.(*mx.Cache).Resolver
		for i, queries := range [][2]int{{2, 1}, {4, 1}} {
			if a, err := client.Resolve(t.Context(), "e.test", mx.TypeMX); err != nil || len(a.MX) != 20 {
				t.Fatalf("%d records, %v", len(a.MX), err)
			}
			if got := [2]int{len(old.Queries()), len(good.Queries())}; got != queries {
				t.Errorf("question %d: %v queries to each, want %v", i+1, got, queries)
			}
		}
		if q := good.Queries()[0]; q.UDPSize == 0 {
			t.Error("the good server was asked without EDNS")
		}
	})
}
