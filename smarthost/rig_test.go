package smarthost_test

import (
	"reflect"

	"github.com/nexthop-mail/nexthop/smarthost"
)

// same is whether two hosts are equal, the logins by what is in them.
func same(a, b smarthost.Host) bool {
	if (a.Login == nil) != (b.Login == nil) || a.Login != nil && !reflect.DeepEqual(*a.Login, *b.Login) {
		return false
	}
	a.Login, b.Login = nil, nil
	return reflect.DeepEqual(a, b)
}
