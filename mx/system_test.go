package mx_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// conf is a resolv.conf of a test.
type conf struct {
	t    *testing.T
	path string
}

func newConf(t *testing.T, text string) *conf {
	c := &conf{t, filepath.Join(t.TempDir(), "resolv.conf")}
	c.write(text)
	return c
}

// write changes the file in place, as a daemon may.
func (c *conf) write(text string) {
	c.t.Helper()
	if err := os.WriteFile(c.path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// replace puts another file in its place, as most do.
func (c *conf) replace(text string) {
	c.t.Helper()
	fresh := c.path + ".new"
	if err := os.WriteFile(fresh, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(fresh, c.path); err != nil {
		c.t.Fatal(err)
	}
}

// fromFile is a Client of two servers that answer, by what the file says, and who
// was asked.
func fromFile(t *testing.T, c *conf, l *log) *mx.Client {
	good := answering(t, 0, "e.test. 60 IN A 192.0.2.1")
	return &mx.Client{File: c.path, Dial: dialTo(t, map[string]script{first: l.around("1", good), second: l.around("2", good)})}
}

const (
	naming1 = "nameserver 192.0.2.53\n"
	naming2 = "nameserver 198.51.100.53\n"
)

func TestResolvConfIsReadAgain(t *testing.T) {
	changes := map[string]func(c *conf){
		"replaced":            func(c *conf) { c.replace(naming2) },
		"written in place":    func(c *conf) { c.write(naming2) },
		"of the same length":  func(c *conf) { c.write("nameserver 198.51.100.53\n") },
		"written in two goes": func(c *conf) { c.write(""); c.write(naming2) },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l log
				c := newConf(t, "nameserver 192.0.2.53   \n")
				client := fromFile(t, c, &l)
				ask := func(want string) {
					t.Helper()
					if _, err := client.Resolve(t.Context(), "e.test", mx.TypeA); err != nil {
						t.Fatal(err)
					}
					if got := l.take(); !slices.Equal(got, []string{want}) {
						t.Errorf("asked %v, want %s", got, want)
					}
				}
				ask("1")
				change(c)
				ask("1") // it was looked at a moment ago
				time.Sleep(3 * time.Second)
				ask("2")
				c.replace(naming1)
				time.Sleep(3 * time.Second)
				ask("1")
				c.replace(naming2)
				client.Reread() // it was looked at a moment ago all the same
				ask("2")
			})
		})
	}
}

func TestResolvConfThatIsOfNoUse(t *testing.T) {
	harms := map[string]func(t *testing.T, c *conf){
		"gone": func(t *testing.T, c *conf) {
			if err := os.Remove(c.path); err != nil {
				t.Fatal(err)
			}
		},
		"empty":             func(_ *testing.T, c *conf) { c.write("") },
		"without a server":  func(_ *testing.T, c *conf) { c.write("# the network is down\nsearch corp.test\n") },
		"with no addresses": func(_ *testing.T, c *conf) { c.write("nameserver dns.corp.test\n") },
		"a directory": func(t *testing.T, c *conf) {
			if err := errors.Join(os.Remove(c.path), os.Mkdir(c.path, 0o700)); err != nil {
				t.Fatal(err)
			}
		},
		"huge": func(_ *testing.T, c *conf) { c.write(strings.Repeat("#", 65537)) },
	}
	for name, harm := range harms {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l log
				var told []string
				c := newConf(t, naming1+"options ndots:5\n")
				client := fromFile(t, c, &l)
				client.Trace = &mx.Trace{Read: func(file string, ignored []string, err error) {
					if file != c.path {
						t.Errorf("read %s", file)
					}
					if err != nil {
						told = append(told, "of no use")
					} else {
						told = append(told, strings.Join(ignored, "; "))
					}
				}}
				for range 4 {
					if _, err := client.Resolve(t.Context(), "e.test", mx.TypeA); err != nil {
						t.Fatal(err)
					}
					time.Sleep(3 * time.Second)
					if len(l.asked) == 1 {
						harm(t, c)
					}
				}
				if name == "a directory" {
					if err := os.Remove(c.path); err != nil {
						t.Fatal(err)
					}
				}
				c.replace(naming2)
				if _, err := client.Resolve(t.Context(), "e.test", mx.TypeA); err != nil {
					t.Fatal(err)
				}
				if got := l.take(); !slices.Equal(got, []string{"1", "1", "1", "1", "2"}) {
					t.Errorf("asked %v, want the old server while the file was of no use", got)
				}
				if want := []string{"options ndots:5: only names without a dot are completed", "of no use", ""}; !slices.Equal(told, want) {
					t.Errorf("told %q, want %q", told, want)
				}
			})
		})
	}
	t.Run("from the beginning", func(t *testing.T) {
		client := &mx.Client{File: filepath.Join(t.TempDir(), "none")}
		_, err := client.Resolve(t.Context(), "e.test", mx.TypeA)
		if wantFailure(t, err, mx.NoAnswer); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error is %v, want that the file does not exist", err)
		}
	})
}

// TestResolvConfChangesWhileAsking: the network changes while a question waits for a
// server of the old one.
func TestResolvConfChangesWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConf(t, naming1)
		client := &mx.Client{File: c.path, Dial: dialTo(t, map[string]script{
			first: silent, second: answering(t, 0, "e.test. 60 IN A 192.0.2.1"),
		})}
		time.AfterFunc(time.Second, func() { c.replace(naming2) })
		if a, err := client.Resolve(t.Context(), "e.test", mx.TypeA); err != nil || len(a.Addrs) != 1 {
			t.Errorf("answer is %+v, %v; want that of the new server", a, err)
		}
	})
}

func TestResolvConfOptions(t *testing.T) {
	run := func(name, text string, check func(t *testing.T, client *mx.Client, c *conf, l *log)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l log
				c := newConf(t, text)
				check(t, fromFile(t, c, &l), c, &l)
			})
		})
	}
	ask := func(t *testing.T, client *mx.Client) mx.Answer {
		t.Helper()
		a, err := client.Resolve(t.Context(), "e.test", mx.TypeA)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	run("rotate", naming1+naming2+"options rotate\n", func(t *testing.T, client *mx.Client, _ *conf, l *log) {
		for range 4 {
			ask(t, client)
		}
		if got := l.take(); !slices.Equal(got, []string{"1", "2", "1", "2"}) {
			t.Errorf("asked %v", got)
		}
	})
	run("no-reload", naming1+"options no-reload\n", func(t *testing.T, client *mx.Client, c *conf, l *log) {
		ask(t, client)
		c.replace(naming2)
		time.Sleep(time.Hour)
		ask(t, client)
		if got := l.take(); !slices.Equal(got, []string{"1", "1"}) {
			t.Errorf("asked %v", got)
		}
	})
	run("no-reload, and asked to read it again", naming1+"options no-reload\n", func(t *testing.T, client *mx.Client, c *conf, l *log) {
		ask(t, client)
		c.replace(naming2 + "options no-reload\n")
		client.Reread()
		ask(t, client)
		c.replace(naming1)
		client.Reread()
		ask(t, client)
		if got := l.take(); !slices.Equal(got, []string{"1", "2", "1"}) {
			t.Errorf("asked %v", got)
		}
	})
	run("use-vc", naming1+"options use-vc\n", func(t *testing.T, client *mx.Client, _ *conf, _ *log) {
		client.Dial = dialTo(t, map[string]script{first: func(x exchange) {
			if x.network != "tcp" {
				t.Errorf("asked over %s", x.network)
			}
			answering(t, 0, "e.test. 60 IN A 192.0.2.1")(x)
		}})
		ask(t, client)
	})
	for text, want := range map[string]bool{"": false, "options trust-ad\n": true} {
		run("MX-36 trust-ad "+text, naming1+text, func(t *testing.T, client *mx.Client, _ *conf, _ *log) {
			client.Dial = dialTo(t, map[string]script{first: func(x exchange) {
				m := x.reply(t, 0, "e.test. 60 IN A 192.0.2.1")
				m.AuthenticatedData = true
				x.send(pack(t, m))
			}})
			if a := ask(t, client); a.Secure != want {
				t.Errorf("secure is %v, want %v", a.Secure, want)
			}
			client.TrustAD = true
			if a := ask(t, client); !a.Secure {
				t.Error("not secure, although every server is to be believed")
			}
		})
	}
	run("timeout and attempts", naming1+"options timeout:2 attempts:3\n", func(t *testing.T, client *mx.Client, _ *conf, _ *log) {
		client.Dial = dialTo(t, map[string]script{first: silent})
		began := time.Now()
		_, err := client.Resolve(t.Context(), "e.test", mx.TypeA)
		if wantFailure(t, err, mx.Timeout); time.Since(began) != 6*time.Second {
			t.Errorf("it took %v, want three times 2 s", time.Since(began))
		}
		client.MaxTimeout = time.Minute
		began = time.Now()
		if _, err := client.Resolve(t.Context(), "e.test", mx.TypeA); err == nil || time.Since(began) != 6*time.Second {
			t.Errorf("it took %v, want the file's time where that is shorter", time.Since(began))
		}
		client.MaxTimeout = time.Second / 2
		began = time.Now()
		if _, err := client.Resolve(t.Context(), "e.test", mx.TypeA); err == nil || time.Since(began) != 3*time.Second/2 {
			t.Errorf("it took %v, want three times the half second", time.Since(began))
		}
		client.MaxTimeout, client.Timeout, client.Attempts = 0, time.Second, 1
		began = time.Now()
		if _, err := client.Resolve(t.Context(), "e.test", mx.TypeA); err == nil || time.Since(began) != time.Second {
			t.Errorf("it took %v, want the field's second", time.Since(began))
		}
	})
	t.Run("RES_OPTIONS", func(t *testing.T) {
		t.Setenv("RES_OPTIONS", "timeout:1 attempts:1")
		synctest.Test(t, func(t *testing.T) {
			client := &mx.Client{File: newConf(t, naming1).path, Dial: dialTo(t, map[string]script{first: silent})}
			began := time.Now()
			if _, err := client.Resolve(t.Context(), "e.test", mx.TypeA); err == nil || time.Since(began) != time.Second {
				t.Errorf("it took %v, want a second", time.Since(began))
			}
		})
	})
}

// TestResolvConfWithManyAsking: questions go on while the file changes under them.
func TestResolvConfWithManyAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConf(t, naming1)
		var l log
		client := fromFile(t, c, &l)
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(func() {
				for range 20 {
					if _, err := client.Resolve(t.Context(), "e.test", mx.TypeA); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Second)
				}
			})
		}
		for i := range 10 {
			time.Sleep(2 * time.Second)
			c.replace([]string{naming2, naming1, ""}[i%3])
		}
		wait.Wait()
		asked := l.take()
		if slices.Sort(asked); len(asked) != 400 || asked[0] != "1" || asked[399] != "2" {
			t.Errorf("%d questions, from server %s to %s", len(asked), asked[0], asked[len(asked)-1])
		}
	})
}
