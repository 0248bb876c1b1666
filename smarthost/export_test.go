package smarthost

import "github.com/nexthop-mail/nexthop/mx"

// FailSystemResolver makes a Table find that this system has no resolvers, because of err.
func (t *Table) FailSystemResolver(err error) {
	t.system = func() (*mx.Client, error) { return nil, err }
}
