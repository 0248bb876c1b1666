// Package compose completes messages in the form in which programs pass them to
// sendmail: the header may lack fields, have one that must not be sent, and contain the
// recipients, and line ends may be of any kind.
//
//	in := bufio.NewReader(os.Stdin)
//	header, err := compose.ReadHeader(in)
//	to, err := header.Recipients()
//	header.Complete(compose.Origin{Address: "alice@example.org", Host: "example.org", Now: time.Now()})
//	_, err = header.WriteTo(out)
//	err = compose.CopyBody(out, in, false)
package compose
