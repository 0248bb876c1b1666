//go:build linux

package bench

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/internal/peers"
)

// postfixRelay is what makes Postfix a relay for this machine, at its fastest:
// enough processes for all sessions, no limit on its clients, no pause at the
// entrance (in_flow_delay), no pace at the exit but the measure's, connections
// kept on demand.
const postfixRelay = `mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_mynetworks, reject
virtual_mailbox_domains =
virtual_mailbox_maps =
relayhost =
default_process_limit = 250
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
in_flow_delay = 0
initial_destination_concurrency = %[1]d
default_destination_concurrency_limit = %[1]d
smtp_connection_cache_on_demand = yes
notify_classes =
smtp_connect_timeout = %[2]ds
`

func startPostfix(t *testing.T, s settings) *running {
	t.Helper()
	timeout := max(s.connectTimeout, time.Second)
	if s.connectTimeout == 0 {
		timeout = 30 * time.Second
	}
	config := fmt.Sprintf(postfixRelay, s.sites(), int(timeout.Seconds()))
	if s.feedback {
		config += "initial_destination_concurrency = 5\n"
	}
	if s.retry > 0 {
		config += fmt.Sprintf("minimal_backoff_time = %[1]ds\nmaximal_backoff_time = %[1]ds\nqueue_run_delay = %[2]ds\n",
			int(s.retry.Seconds()), max(int(s.retry.Seconds())/2, 1))
	}
	if s.tls {
		config += "smtp_tls_security_level = may\nsmtp_tls_session_cache_database = btree:/var/lib/postfix/smtp_scache\n"
	}
	if s.reuse {
		config += "smtp_tls_connection_reuse = yes\n"
	}
	server := peers.Postfix(strings.TrimSuffix(relayAddr, ":25"), "postfix.relay.test", "", "", config)
	master := server.Files["/etc/postfix/master.cf"]
	server.Files["/etc/postfix/master.cf"] = strings.Replace(master, "inet n - n - - smtpd",
		"inet n - n - "+strconv.Itoa(250)+" smtpd", 1) + "scache unix - - n - 1 scache\ntlsproxy unix - - n - 0 tlsproxy\n"
	server.Mounts = map[string]string{"/var/spool/postfix": diskFolder(t)}
	return startServer(t, server)
}
