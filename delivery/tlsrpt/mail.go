package tlsrpt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Mailer sends mail; a *delivery.Agent is one.
type Mailer interface {
	// Submit accepts a message for delivery. It may be called concurrently. An error is
	// permanent if it has a method Temporary that returns false. queue.ErrDuplicate
	// means that the message was accepted before.
	Submit(ctx context.Context, m *queue.Message) (id string, err error)

	// Signs reports whether mail is signed with DKIM when it is submitted.
	Signs() bool
}

// The metadata of a report's message, for the hook that signs it: receivers may require
// a key with s=tlsrpt in its record (RFC 8460 section 3).
const (
	// PurposeKey is the key of Metadata.
	PurposeKey = "purpose"
	// Purpose is its value.
	Purpose = "tlsrpt"
)

// Errors of reports by mail.
var (
	errNoMailer = errors.New("reports are not sent by mail here")
	errUnsigned = errors.New("nobody signs reports by mail, and receivers ignore those without a DKIM signature")
)

// mayMail is why no report is sent by mail; nil if they are.
func (r *Reporter) mayMail() error {
	switch {
	case r.Mail == nil:
		return errNoMailer
	case !r.Mail.Signs() && !r.SignedLater:
		return errUnsigned
	}
	return nil
}

// mail sends a report by mail.
func (r *Reporter) mail(ctx context.Context, p *parcel, to Target) error {
	_, err := r.Mail.Submit(ctx, &queue.Message{
		From:       r.Submitter.address(),
		Recipients: []queue.Recipient{{Address: to.Address, Notify: queue.NotifyNever}},
		Content:    queue.Bytes(r.Submitter.content(p, to, time.Now())),
		Key:        fmt.Sprintf("tlsrpt %v %s %s", p.day, p.domain, to.Address),
		Metadata:   map[string]string{PurposeKey: Purpose},
		Expires:    time.Now().Add(keepTrying),
		// No policy applies to it, and so it is in no report (RFC 8460 section 3).
		TLS: queue.TLSOptional,
	})
	if errors.Is(err, queue.ErrDuplicate) {
		return nil
	}
	return err
}

// content is the message of a report (RFC 8460 section 5.3).
func (s Submitter) content(p *parcel, to Target, now time.Time) []byte {
	report := p.report
	sum := sha256.Sum256([]byte(report.ReportID + " " + to.Address))
	unique := hex.EncodeToString(sum[:12])
	boundary := "=_tlsrpt_" + unique // base64 has no "_"
	id, host, _ := strings.Cut(report.ReportID, "@")
	var b bytes.Buffer
	for _, field := range [][2]string{
		{"From", s.address()},
		{"To", to.Address},
		{"Date", now.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700")},
		{"Subject", fmt.Sprintf("Report Domain: %s\r\n Submitter: %s\r\n Report-ID: <%s>", p.domain, s.Domain(), report.ReportID)},
		{"Message-ID", fmt.Sprintf("<%s.%s@%s>", id, unique, host)},
		{"Auto-Submitted", "auto-generated"},
		{"TLS-Report-Domain", p.domain},
		{"TLS-Report-Submitter", s.Domain()},
		{"TLS-Required", "No"},
		{"MIME-Version", "1.0"},
		{"Content-Type", fmt.Sprintf("multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"%s\"", boundary)},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", field[0], field[1])
	}
	fmt.Fprintf(&b, "\r\nThis is a report in MIME format.\r\n\r\n--%s\r\n", boundary)
	b.WriteString("Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\n")
	b.WriteString(p.text())
	fmt.Fprintf(&b, "\r\n--%s\r\n", boundary)
	fmt.Fprintf(&b, "Content-Type: %s\r\nContent-Transfer-Encoding: base64\r\n", mediaType)
	fmt.Fprintf(&b, "Content-Disposition: attachment;\r\n filename=\"%s\"\r\n\r\n", s.filename(p.day, p.domain))
	encoded := base64.StdEncoding.EncodeToString(p.packed)
	for len(encoded) > 0 {
		n := min(76, len(encoded))
		b.WriteString(encoded[:n] + "\r\n")
		encoded = encoded[n:]
	}
	fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
	return b.Bytes()
}

// text is the report for people.
func (p *parcel) text() string {
	var b strings.Builder
	r := p.report
	fmt.Fprintf(&b, "TLS with the mail hosts of %s on %v (UTC),\r\n", p.domain, p.day)
	fmt.Fprintf(&b, "as %s has seen it. The report itself is attached.\r\n", r.ContactInfo)
	for i := range r.Policies {
		one := &r.Policies[i]
		fmt.Fprintf(&b, "\r\nPolicy %s of %s: %d sessions successful, %d failed\r\n", one.Policy.Type, one.Policy.Domain,
			one.Summary.Successful, one.Summary.Failed)
		results := make(map[string]uint64)
		for _, d := range one.FailureDetails {
			results[d.ResultType] += d.FailedSessionCount
		}
		for result := Success + 1; result < Result(len(resultNames())); result++ {
			if n := results[result.String()]; n > 0 {
				fmt.Fprintf(&b, "    %s: %d\r\n", result, n)
			}
		}
	}
	return b.String()
}
