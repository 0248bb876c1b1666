package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

// controlSocket is the name of the socket in the queue's directory on which a relay
// accepts operations from "relay queue". It has no meaning unless the directory is
// locked, so one that was left behind does no harm.
const controlSocket = "control"

// HTTP trailers that follow the output of an operation.
const (
	exitTrailer  = "Relay-Exit"
	errorTrailer = "Relay-Error"
)

// listenControl makes the socket in a directory that no one else can enter, and then
// gives it its name, so that others can connect at no moment.
func listenControl(dir string) (net.Listener, error) {
	private, err := os.MkdirTemp(dir, "control-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(private) }()
	var l net.Listener
	err = shortPath(filepath.Join(private, controlSocket), func(path string) (err error) {
		l, err = net.Listen("unix", path)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	err = os.Chmod(filepath.Join(private, controlSocket), 0o600)
	if err == nil {
		err = os.Rename(filepath.Join(private, controlSocket), filepath.Join(dir, controlSocket))
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// shortPath calls use with a path of a socket that the system takes: 108 octets on
// Linux and 104 elsewhere are the most. A longer one goes by way of a link.
func shortPath(path string, use func(string) error) error {
	if len(path) < 100 {
		return use(path)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return err
	}
	links, err := os.MkdirTemp("", "relay-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(links) }()
	link := filepath.Join(links, "q")
	if err := os.Symlink(dir, link); err != nil {
		return err
	}
	return use(filepath.Join(link, filepath.Base(path)))
}

// serveControl answers operations until ctx ends.
func serveControl(ctx context.Context, l net.Listener, operate func(context.Context, *operation, io.Writer) error) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var o operation
		w.Header().Set("Trailer", exitTrailer+", "+errorTrailer)
		err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&o)
		if err == nil {
			err = operate(r.Context(), &o, w)
		}
		code := 0
		if err != nil {
			code = cli.ExitTempFail
			if e, ok := errors.AsType[*cli.Error](err); ok {
				code = e.Code
			}
			w.Header().Set(errorTrailer, strconv.QuoteToASCII(err.Error()))
		}
		w.Header().Set(exitTrailer, strconv.Itoa(code))
	})
	serveHTTP(ctx, l, handler)
}

// serveHTTP serves until ctx ends.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan struct{})
	defer func() { <-stopped }()
	release := context.AfterFunc(ctx, func() {
		defer close(stopped)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if s.Shutdown(last) != nil {
			_ = s.Close()
		}
	})
	_ = s.Serve(l)
	if release() {
		close(stopped)
	}
}

// callRelay has an operation done by the relay behind a socket. reached is whether
// there is one.
func callRelay(ctx context.Context, socket string, o operation, stdout io.Writer) (reached bool, err error) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
			err = shortPath(socket, func(path string) error {
				conn, err = new(net.Dialer).DialContext(ctx, "unix", path)
				return err
			})
			reached = err == nil
			return conn, err
		},
	}}
	body, err := json.Marshal(o)
	if err != nil {
		return false, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://relay/", bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	response, err := client.Do(request)
	if err != nil {
		return reached, &cli.Error{Code: cli.ExitTempFail, Err: err}
	}
	defer response.Body.Close()
	if _, err := io.Copy(stdout, response.Body); err != nil {
		return true, &cli.Error{Code: cli.ExitTempFail, Err: err}
	}
	return true, outcome(response.Trailer)
}

// outcome is the error that the relay reports; nil where all went well.
func outcome(trailer http.Header) error {
	code, err := strconv.Atoi(trailer.Get(exitTrailer))
	if err != nil {
		return &cli.Error{Code: cli.ExitTempFail, Err: errors.New("the relay did not finish")}
	}
	if code == 0 {
		return nil
	}
	text, err := strconv.Unquote(trailer.Get(errorTrailer))
	if err != nil {
		text = "the relay does not say why"
	}
	return &cli.Error{Code: code, Err: errors.New(text)}
}
