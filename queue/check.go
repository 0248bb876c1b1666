package queue

import (
	"errors"
	"fmt"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// The longest values that a queue accepts, in bytes.
const (
	MaxKey       = 255       // Message.Key
	MaxTenant    = 255       // Message.Tenant
	MaxMetadata  = 64 * 1024 // all names and values of Message.Metadata together
	MaxParameter = 500       // Message.EnvelopeID, Recipient.Original (RFC 3461 section 4), Message.Submitter
)

// Validate reports whether a queue accepts the fields of m. There must be a recipient and
// content, mail must be able to reach the addresses, and every value must be within its
// bounds. The error is a *MessageError about the first fault that is found. The content is
// not read.
func (m *Message) Validate() error {
	_, err := Split(m)
	return err
}

// Causes in a MessageError.
var (
	errNone      = errors.New("missing")
	errUnknown   = errors.New("undefined value")
	errNoName    = errors.New("the name is empty")
	errCanonical = errors.New("not in canonical form; use ParseDestination")
	errToken     = errors.New("want only letters, digits and hyphens")
)

// checkFields checks everything except the recipients.
func checkFields(m *Message) error {
	if _, err := address.ParseReverse(m.From); err != nil {
		return addressError("From", -1, "5.1.7", err)
	}
	if m.Content == nil {
		return fieldError("Content", "5.6.0", errNone)
	}
	switch {
	case len(m.Key) > MaxKey:
		return tooLong("Key", MaxKey)
	case len(m.Tenant) > MaxTenant:
		return tooLong("Tenant", MaxTenant)
	case len(m.EnvelopeID) > MaxParameter:
		return tooLong("EnvelopeID", MaxParameter)
	case len(m.Submitter) > MaxParameter:
		return tooLong("Submitter", MaxParameter)
	case m.Priority < -9 || m.Priority > 9:
		return fieldError("Priority", "5.5.4", errors.New("not from -9 to 9"))
	case m.TLS > TLSOptional:
		return fieldError("TLS", "5.5.4", errUnknown)
	case m.Guarantee > AtMostOnce:
		return fieldError("Guarantee", "5.5.4", errUnknown)
	case m.Return > ReturnHeaders:
		return fieldError("Return", "5.5.4", errUnknown)
	}
	size := 0
	for name, value := range m.Metadata {
		size += len(name) + len(value)
	}
	if size > MaxMetadata {
		return tooLong("Metadata", MaxMetadata)
	}
	return nil
}

// checkRecipient checks the DSN parameters of one recipient.
func checkRecipient(r *Recipient, index int) error {
	const all = NotifyNever | NotifySuccess | NotifyFailure | NotifyDelay
	var err error
	switch {
	case r.Notify > all, r.Notify&NotifyNever != 0 && r.Notify != NotifyNever:
		err = fmt.Errorf("Notify: %w", errUnknown)
	case len(r.OriginalType) > MaxParameter, len(r.Original) > MaxParameter:
		err = fmt.Errorf("Original: more than %d bytes", MaxParameter)
	case !isToken(r.OriginalType):
		err = fmt.Errorf("OriginalType: %w", errToken)
	default:
		return nil
	}
	return &MessageError{Field: "Recipients", Index: index, Enhanced: "5.5.4", Err: err}
}

// isToken reports whether s is empty or the name of an address type. RFC 3461 section 4.2
// allows any atom. All names in use consist of letters, digits and hyphens.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '-' {
			return false
		}
	}
	return true
}

func fieldError(field, enhanced string, err error) error {
	return &MessageError{Field: field, Index: -1, Enhanced: enhanced, Err: err}
}

func tooLong(field string, max int) error {
	return fieldError(field, "5.5.4", fmt.Errorf("more than %d bytes", max))
}

// addressError takes the status code from the address's error, if that has one.
func addressError(field string, index int, enhanced string, err error) error {
	var ae *address.Error
	if errors.As(err, &ae) && ae.Enhanced != "" {
		enhanced = ae.Enhanced
	}
	return &MessageError{Field: field, Index: index, Enhanced: enhanced, Err: err}
}
