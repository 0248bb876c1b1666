// Package compose completes messages as programs write them for sendmail: a header that may
// lack fields or have one that is nobody's business, with recipients in it, and line ends
// of any kind.
//
//	in := bufio.NewReader(os.Stdin)
//	header, err := compose.ReadHeader(in)
//	to, err := header.Recipients()
//	header.Complete(compose.Origin{Address: "alice@example.org", Host: "example.org", Now: time.Now()})
//	_, err = header.WriteTo(out)
//	err = compose.CopyBody(out, in, false)
package compose
