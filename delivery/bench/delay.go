package bench

import (
	"net"
	"sync"
	"time"
)

// Delay is a proxy that carries every byte half a round trip later, in each
// direction, without slowing their rate: a long wire.
type Delay struct {
	RoundTrip time.Duration
	Target    string

	listener net.Listener
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
}

// Start listens on a free loopback port and returns the address.
func (d *Delay) Start() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	d.listener = l
	d.wg.Go(d.accept)
	return l.Addr().String(), nil
}

// Close ends the proxy and what goes through it.
func (d *Delay) Close() error {
	err := d.listener.Close()
	d.mu.Lock()
	for _, c := range d.conns {
		c.Close()
	}
	d.mu.Unlock()
	d.wg.Wait()
	return err
}

func (d *Delay) accept() {
	for {
		near, err := d.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", d.Target)
		if err != nil {
			near.Close()
			continue
		}
		d.mu.Lock()
		d.conns = append(d.conns, near, far)
		d.mu.Unlock()
		d.carry(near, far)
		d.carry(far, near)
	}
}

// parcel is what was read at one time, to be written at another.
type parcel struct {
	data []byte
	due  time.Time
}

func (d *Delay) carry(from, to net.Conn) {
	wire := make(chan parcel, 1024)
	d.wg.Go(func() {
		defer close(wire)
		for {
			buf := make([]byte, 32<<10)
			n, err := from.Read(buf)
			if n > 0 {
				wire <- parcel{buf[:n], time.Now().Add(d.RoundTrip / 2)}
			}
			if err != nil {
				return
			}
		}
	})
	d.wg.Go(func() {
		defer to.Close()
		for p := range wire {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.data); err != nil {
				from.Close()
				for range wire { // let the reader end
				}
				return
			}
		}
	})
}
