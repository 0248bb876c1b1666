package delivery_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// The dialogue matrix: every fault at every stage, at the primary of two hosts
// of which the secondary is well. A message to a@ and b@ is sent; the letter
// says what must become of it:
//
//	N  the primary fails for now, the secondary takes both
//	H  the primary refuses for itself, the secondary takes both
//	D  the primary takes both
//	P  the primary takes both, in clear, in the same session
//	C  the primary takes both, in clear, on another connection
//	T  the primary takes both, in clear, once a second handshake has failed as well
//	M  one recipient moves on to the secondary, the primary takes the other
//	R  one recipient has failed, the primary takes the other
//	F  both have failed, and the secondary is not asked
//	U  nobody knows, and the secondary is not asked
//	-  there is no such case
const stepByStep = `
                 banner hello starttls handshake hello-tls mail rcpt-1 rcpt-2 data content final quit
4yz              N      N     P        C         N         N    M      M      N    N       N     D
5yz              H      H     P        C         H         F    R      R      F    F       F     D
421              N      N     C        C         N         N    N      N      N    N       N     D
421-close        N      N     C        C         N         N    N      N      N    N       N     D
close            N      N     C        T         C         N    N      N      N    N       U     D
reset            N      N     C        T         C         N    N      N      N    N       U     D
stall            N      N     C        T         C         N    N      N      N    U       U     D
stop-reading     N      N     C        T         C         N    N      N      N    N       U     D
drip             N      N     C        C         N         N    N      N      N    N       U     D
garbage          N      N     C        T         N         N    N      N      N    N       U     D
bare-digits      D      D     D        C         D         D    D      D      D    N       D     D
two-codes        N      N     C        C         N         N    N      N      N    N       U     D
100000-lines     N      N     C        C         N         N    N      N      N    N       U     D
10MiB-line       N      N     C        C         N         N    N      N      N    N       U     D
control          D      D     D        C         D         D    D      D      D    N       D     D
early            -      N     N        -         D         N    N      -      N    -       N     D
two-replies      N      N     N        -         N         N    N      N      N    -       D     D
after-close      N      N     C        T         C         N    N      N      N    -       U     D
`

// The same with PIPELINING, where only early replies differ: what comes before
// its command is told from what comes with the others of its group by number
// alone.
const inGroups = `
                 mail rcpt-1 rcpt-2 data content final quit
4yz              N    M      M      N    N       N     D
5yz              F    R      R      F    F       F     D
421              N    N      N      N    N       N     D
421-close        N    N      N      N    N       N     D
close            N    N      N      N    N       U     D
reset            N    N      N      N    N       U     D
stall            N    N      N      N    U       U     D
stop-reading     N    N      N      N    N       U     D
drip             N    N      N      N    N       U     D
garbage          N    N      N      N    N       U     D
bare-digits      D    D      D      D    N       D     D
two-codes        N    N      N      N    N       U     D
100000-lines     N    N      N      N    N       U     D
10MiB-line       N    N      N      N    N       U     D
control          D    D      D      D    N       D     D
early            N    D      -      N    -       N     D
two-replies      N    N      N      N    -       D     D
after-close      N    N      N      N    -       U     D
`

// And with CHUNKING on a session that has carried a message before, where all
// goes out in one group, the content too: a lost reply leaves the outcome
// unknown, except where the host has hung up before MAIL, for then the session
// was stale, or has said that it hangs up.
//
//	A  the primary takes both on another connection
const inOneGroup = `
                 mail rcpt-1 rcpt-2 final quit
4yz              N    M      M      N     D
5yz              F    R      R      F     D
421              N    M      M      N     D
421-close        A    N      N      N     D
close            A    U      U      U     D
reset            A    U      U      U     D
stall            U    U      U      U     D
stop-reading     U    U      U      U     D
drip             U    U      U      U     D
garbage          U    U      U      U     D
bare-digits      D    D      D      D     D
two-codes        U    U      U      U     D
100000-lines     U    U      U      U     D
10MiB-line       U    U      U      U     D
control          D    D      D      D     D
after-close      U    U      U      U     D
`

// RSET begins the second message of a session whose first was refused.
const atReset = `
                 rset
4yz              A
5yz              A
421              A
421-close        A
close            A
reset            A
stall            N
stop-reading     N
drip             N
garbage          N
bare-digits      D
two-codes        N
100000-lines     N
10MiB-line       N
control          D
early            -
two-replies      N
after-close      N
`

// AUTH, to a primary with a login. Whatever it says, no mail bounces for it.
const atAuth = `
                 auth
4yz              N
5yz              N
421              N
421-close        N
close            N
reset            N
stall            N
stop-reading     N
drip             N
garbage          N
bare-digits      D
two-codes        N
100000-lines     N
10MiB-line       N
control          D
early            N
two-replies      N
after-close      N
`

// matrixFault makes the cue of a fault; good is the reply the stage is owed.
func matrixFault(name, good string) smtptest.Cue {
	code := good[:3]
	switch name {
	case "4yz":
		return smtptest.Cue{Reply: "450 4.0.0 not now"}
	case "5yz":
		return smtptest.Cue{Reply: "550 5.0.0 never"}
	case "421":
		return smtptest.Cue{Reply: "421 4.3.2 closing"}
	case "421-close":
		return smtptest.Cue{Reply: "421 4.3.2 closing", Then: smtptest.Close}
	case "close":
		return smtptest.Cue{Then: smtptest.Close}
	case "reset":
		return smtptest.Cue{Then: smtptest.Reset}
	case "stall":
		return smtptest.Cue{Then: smtptest.Stall}
	case "stop-reading":
		return smtptest.Cue{Then: smtptest.StopReading}
	case "drip":
		return smtptest.Cue{Reply: code + " " + strings.Repeat("x", 1000), Drip: time.Second}
	case "garbage":
		return smtptest.Cue{Raw: "\x16\x03\x01 HTTP/1.1 400 Bad Request\r\n"}
	case "bare-digits":
		return smtptest.Cue{Raw: code + "\r\n"}
	case "two-codes":
		return smtptest.Cue{Raw: code + "-good\r\n451 bad\r\n"}
	case "100000-lines":
		return smtptest.Cue{Reply: strings.Repeat(code+"-more\n", 100_000) + code + " end"}
	case "10MiB-line":
		return smtptest.Cue{Reply: code + " " + strings.Repeat("x", 10<<20)}
	case "control":
		return smtptest.Cue{Reply: code + " nul \x00 escape \x1b[2J high \xff"}
	case "early":
		return smtptest.Cue{Reply: good, When: smtptest.Early}
	case "two-replies":
		return smtptest.Cue{Reply: good + "\n" + good}
	case "after-close":
		return smtptest.Cue{Reply: good, When: smtptest.AfterClosed}
	default:
		panic(name)
	}
}

// matrixStage is the stage of a column, the number of the command, and the
// reply it is owed.
func matrixStage(name string) (at smtptest.Stage, nth int, good string) {
	switch name {
	case "banner":
		return smtptest.Banner, 0, "220 mx1.e.test"
	case "hello":
		return smtptest.Hello, 0, "250 mx1.e.test"
	case "starttls":
		return smtptest.StartTLS, 0, "220 go ahead"
	case "handshake":
		return smtptest.Handshake, 0, "220 what"
	case "hello-tls":
		return smtptest.HelloTLS, 0, "250 mx1.e.test"
	case "auth":
		return smtptest.Auth, 0, "235 welcome"
	case "mail":
		return smtptest.Mail, 0, "250 ok"
	case "rcpt-1":
		return smtptest.Rcpt, 1, "250 ok"
	case "rcpt-2":
		return smtptest.Rcpt, 2, "250 ok"
	case "data":
		return smtptest.Data, 0, "354 go ahead"
	case "content":
		return smtptest.Content, 0, "250 ok"
	case "final":
		return smtptest.Final, 0, "250 ok"
	case "rset":
		return smtptest.Rset, 0, "250 ok"
	case "quit":
		return smtptest.Quit, 0, "221 bye"
	default:
		panic(name)
	}
}

// matrixCells reads a matrix.
func matrixCells(text string) map[string]map[string]string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	stages := strings.Fields(lines[0])
	cells := map[string]map[string]string{}
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		row := map[string]string{}
		for i, stage := range stages {
			row[stage] = fields[i+1]
		}
		cells[fields[0]] = row
	}
	return cells
}

func TestDialogueMatrix(t *testing.T) {
	for _, m := range []struct {
		name, grid string
		extensions []string
		warm       bool
	}{
		{name: "step by step", grid: stepByStep},
		{name: "in groups", grid: inGroups, extensions: []string{"PIPELINING"}},
		{name: "at RSET", grid: atReset},
		{name: "EXT-20 at AUTH", grid: atAuth},
		{name: "in one group", grid: inOneGroup, extensions: []string{"PIPELINING", "CHUNKING"}, warm: true},
	} {
		cells := matrixCells(m.grid)
		for _, fault := range slices.Sorted(maps.Keys(cells)) {
			for _, stage := range slices.Sorted(maps.Keys(cells[fault])) {
				want := cells[fault][stage]
				if want == "-" {
					continue
				}
				t.Run("SMTP-19, SMTP-20, SMTP-21 "+m.name+", "+stage+" meets "+fault, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { playCell(t, stage, fault, want, m.extensions, m.warm) })
				})
			}
		}
	}
}
