//go:build linux

package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/internal/peers"
)

// eximRelay is an Exim that relays for this machine, at its fastest: every
// message is delivered at once, whatever the number of sessions and of messages
// in one, many messages may follow each other over a connection, and there is no
// log for each message beside the main log. TCP Fast Open is off, for with it Exim
// takes a host that never answers for one that has.
const eximRelay = `primary_hostname = exim.relay.test
local_interfaces = %[1]s
daemon_smtp_ports = 25
exim_user = Debian-exim
exim_group = Debian-exim
never_users =
tls_advertise_hosts =
host_lookup =
rfc1413_hosts =
rfc1413_query_timeout = 0s
log_file_path = /var/log/exim4/%%slog
message_logs = false
keep_environment =
split_spool_directory = true
smtp_accept_max = 250
smtp_connect_backlog = 250
smtp_accept_max_per_connection = 1000000
smtp_accept_queue_per_connection = 0
acl_smtp_rcpt = accept
begin routers
hosts:
  driver = dnslookup
  transport = smtp
  self = send
begin transports
smtp:
  driver = smtp
  connection_max_messages = 1000
  connect_timeout = %[2]ds
  hosts_avoid_tls = *
  hosts_try_fastopen =
begin retry
* * F,2h,15m
`

func startExim(t *testing.T, s settings) *running {
	t.Helper()
	timeout := max(s.connectTimeout, time.Second)
	if s.connectTimeout == 0 {
		timeout = 30 * time.Second
	}
	ip := strings.TrimSuffix(relayAddr, ":25")
	server := peers.Exim(ip, "exim.relay.test", "", "")
	server.Files["/etc/exim4/exim4.conf"] = fmt.Sprintf(eximRelay, ip, int(timeout.Seconds()))
	server.Mounts = map[string]string{"/var/spool/exim4": diskFolder(t)}
	return startServer(t, server)
}
