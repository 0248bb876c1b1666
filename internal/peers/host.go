//go:build linux

package peers

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Host is the address of a mail server, and what it shows of itself. The server is a
// host of e.test, knows only the mailboxes of [Mailboxes], and keeps mail
// where [Server.Mailbox] finds it. Its recipe, if it has one, has the words @IP@,
// @NAME@, @USER@ and @PASSWORD@.
type Host struct {
	IP, Name  string
	Cert, Key string // PEM, for STARTTLS
}

// words are what stands in a recipe for the host.
func (h Host) words() []string {
	return []string{"@IP@", h.IP, "@NAME@", h.Name, "@USER@", SubmissionUser, "@PASSWORD@", SubmissionPassword}
}

// Mailboxes are the local parts that every server of a [Host] knows: u, v, and r1 to
// r50.
func Mailboxes() []string {
	list := []string{"u", "v"}
	for i := range 50 {
		list = append(list, "r"+strconv.Itoa(i+1))
	}
	return list
}

// vmail is where mailboxes are: a directory for each, a file for each message. What
// is on its way there has a name that begins with a dot, or is in a directory tmp.
const vmail = "/var/vmail"

// Mailbox is what a mailbox of the server has in it, a string for each message.
func (s *Server) Mailbox(local string) (messages []string) {
	dir := s.Path(vmail + "/" + local)
	_ = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() || strings.HasPrefix(info.Name(), ".") || strings.Contains(path[len(dir):], "/tmp/") {
			return nil //nolint:nilerr // what vanishes while it is read was not there
		}
		if data, err := os.ReadFile(path); err == nil {
			messages = append(messages, string(data))
		}
		return nil
	})
	return messages
}

// keep is a command that puts a message in the mailbox it is given, for servers that
// hand mail to a command.
const keep = `umask 022
folder=` + vmail + `/$1
mkdir -p "$folder" && cat >"$folder/.$$" && mv "$folder/.$$" "$folder/$$-$(date +%s%N)"
`

// everybody is the directory of mailboxes if a server delivers as several users.
func everybody() Dir { return Dir{Mode: 0o777} }
