package mx

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestReadResolvConf(t *testing.T) {
	servers := func(trust bool, addrs ...string) []Server {
		var list []Server
		for _, a := range addrs {
			list = append(list, Server{Addr: a, TrustAD: trust})
		}
		return list
	}
	tests := []struct {
		name, text string
		want       Client
	}{
		{
			"usual", "# made by hand\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch corp.test\noptions ndots:5\n",
			Client{Servers: servers(false, "192.0.2.53:53", "[2001:db8::53]:53"), Timeout: 5 * time.Second, Attempts: 2},
		},
		{
			"options", "nameserver 127.0.0.53\noptions edns0 trust-ad timeout:2\noptions attempts:3\n",
			Client{Servers: servers(true, "127.0.0.53:53"), Timeout: 2 * time.Second, Attempts: 3},
		},
		{"no server", "", Client{Servers: servers(false, "127.0.0.1:53", "[::1]:53"), Timeout: 5 * time.Second, Attempts: 2}},
		{
			"zone", "nameserver fe80::1%eth0\n",
			Client{Servers: servers(false, "[fe80::1%eth0]:53"), Timeout: 5 * time.Second, Attempts: 2},
		},
		{
			"too much of all", "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\noptions timeout:9999999999 attempts:999\n",
			Client{Servers: servers(false, "192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"), Timeout: 30 * time.Second, Attempts: 5},
		},
		{
			"too long", "nameserver 192.0.2.1\noptions timeout:4000\n",
			Client{Servers: servers(false, "192.0.2.1:53"), Timeout: 30 * time.Second, Attempts: 2},
		},
	}
	for i := range tests {
		test := &tests[i]
		t.Run(test.name, func(t *testing.T) {
			got, err := readResolvConf(strings.NewReader(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, &test.want) {
				t.Errorf("client is %+v, want %+v", got, &test.want)
			}
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("a file that cannot be read", func(t *testing.T) {
		cause := errors.New("bad disk")
		if _, err := readResolvConf(iotest.ErrReader(cause)); !errors.Is(err, cause) {
			t.Errorf("error is %v, want its cause", err)
		}
	})
}

func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 192.0.2.53\noptions trust-ad timeout:1 attempts:2\n")
	f.Add("nameserver\noptions\nsearch\ndomain\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := readResolvConf(strings.NewReader(text))
		if err != nil {
			return
		}
		if n := len(c.Servers); n < 1 || n > mostServers {
			t.Errorf("%d servers", n)
		}
		if c.Timeout <= 0 || c.Timeout > mostTimeout || c.Attempts <= 0 || c.Attempts > mostAttempts {
			t.Errorf("timeout %v, attempts %d", c.Timeout, c.Attempts)
		}
	})
}
