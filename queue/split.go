package queue

import "github.com/nexthop-mail/nexthop/internal/address"

// Part is the recipients of a message at one destination. In a queue it becomes a
// delivery.
type Part struct {
	// Destination is the recipients' domain in canonical form, as every method
	// of a queue takes and returns it.
	Destination string

	// Recipients are positions in Message.Recipients, in ascending order.
	Recipients []int
}

// Split checks m as Message.Validate does and groups its recipients by destination, in the order of
// the first recipient of each. Every queue uses it, so that all agree on what a delivery
// is.
func Split(m *Message) ([]Part, error) {
	if err := checkFields(m); err != nil {
		return nil, err
	}
	if len(m.Recipients) == 0 {
		return nil, fieldError("Recipients", "5.1.0", errNone)
	}
	var (
		parts = make([]Part, 0, 1)
		at    map[address.Domain]int
	)
	if len(m.Recipients) > 1 {
		at = make(map[address.Domain]int)
	}
	for i := range m.Recipients {
		r := &m.Recipients[i]
		if err := checkRecipient(r, i); err != nil {
			return nil, err
		}
		mailbox, err := address.Parse(r.Address)
		if err != nil {
			return nil, addressError("Recipients", i, "5.1.3", err)
		}
		domain := mailbox.Domain()
		part, known := at[domain]
		if !known {
			part = len(parts)
			parts = append(parts, Part{Destination: domain.String()})
			if at != nil {
				at[domain] = part
			}
		}
		parts[part].Recipients = append(parts[part].Recipients, i)
	}
	return parts, nil
}

// ParseDestination returns the canonical form of a domain or address literal that a person
// has written. Selections and lists name destinations in this form. The error is a
// *MessageError whose Field is "Destination".
func ParseDestination(domain string) (string, error) {
	d, err := address.ParseDomain(domain)
	if err != nil {
		return "", addressError("Destination", -1, "5.1.2", err)
	}
	return d.String(), nil
}

// DestinationOf returns the destination of mail for a recipient: the canonical form of the
// address's domain, or of the address literal. The error is a *MessageError whose Field is
// "Recipients".
func DestinationOf(recipient string) (string, error) {
	mailbox, err := address.Parse(recipient)
	if err != nil {
		return "", addressError("Recipients", 0, "5.1.3", err)
	}
	return mailbox.Domain().String(), nil
}
