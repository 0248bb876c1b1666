package project_test

import (
	"encoding"
	"fmt"
	"go/ast"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// enums are the enumerations of the public packages, each with its last value, and with
// what its texts look like if they are not one word.
func enums() []enumeration {
	sentence := regexp.MustCompile(`^[\w .-]+$`)
	return []enumeration{
		{mx.MaybeNoSuchDomain, nil}, {mx.TCP, nil}, {mx.Canceled, nil}, {mx.Aliased, nil}, {mx.ViaFallback, nil},
		{mx.TLSVerify, nil}, {mx.BadRecord, nil}, {mx.IPv6Only, nil}, {mx.PreferIPv6, nil}, {mx.Secure, nil},
		{mxtest.WithoutEDNS, nil}, {mxtest.OtherOpcode, sentence},
		{smarthost.LookupSRV, nil},
		{queue.ReturnHeaders, nil}, {queue.TLSOptional, nil}, {queue.AtMostOnce, nil}, {queue.Unknown, nil}, {queue.OfTenant, nil},
		{delivery.StageContent, nil}, {delivery.Taken, nil}, {delivery.PolicyNotice, nil}, {delivery.FaultOurs, nil}, {delivery.StopSelf, nil}, {delivery.ContentRelay, nil},
		{delivery.ConvertNothing, nil}, {delivery.WaitHeld, nil}, {delivery.WaitClaimed, nil},
		{dane.Usable, nil}, {dane.ChainInvalid, regexp.MustCompile(`^([a-z-]+|)$`)}, {dane.NotTried, sentence},
		{mtasts.Kept, sentence}, {mtasts.Enforce, nil},
		{trust.Fingerprint, nil}, {trust.Refuse, nil},
		{tlsrpt.STSWebPKIInvalid, nil}, {tlsrpt.TLSA, nil}, {tlsrpt.HTTPS, nil},
		{smtptest.AfterClosed, nil}, {smtptest.StopReading, nil}, {smtptest.NoFiles, nil}, {smtptest.Other, nil},
	}
}

// enumeration is one, by its last value.
type enumeration struct {
	last  any
	texts *regexp.Regexp
}

// textOf is a value that has text, and reader what text can set.
type (
	textOf interface {
		fmt.Stringer
		encoding.TextMarshaler
	}
	reader = encoding.TextUnmarshaler
)

// TestEnums reads back the text of every value of every enumeration, and has no text for
// what is none of its values.
func TestEnums(t *testing.T) {
	tested := make(map[string]bool)
	for _, e := range enums() {
		last := reflect.ValueOf(e.last)
		name := last.Type().String()
		tested[name] = true
		t.Run(name, func(t *testing.T) { testEnum(t, last, e.texts) })
	}
	for name, why := range map[string]string{
		"mx.Type":      "the numbers are those of the protocol",
		"queue.Notify": "its values are sets",
	} {
		tested[name] = why != ""
	}
	for _, name := range declaredEnums(t) {
		if !tested[name] {
			t.Errorf("%s is not in the list of this test", name)
		}
		delete(tested, name)
	}
	for _, name := range slices.Sorted(maps.Keys(tested)) {
		t.Errorf("%s is in the list of this test and nowhere else", name)
	}
}

func testEnum(t *testing.T, last reflect.Value, texts *regexp.Regexp) {
	if texts == nil {
		texts = regexp.MustCompile(`^[A-Za-z0-9]+(-[a-z0-9]+)*$`)
	}
	value := func(i uint64) (reflect.Value, textOf, reader) {
		p := reflect.New(last.Type())
		p.Elem().SetUint(i)
		text, ok := p.Elem().Interface().(textOf)
		if !ok {
			t.Fatal("no String or no MarshalText")
		}
		into, ok := p.Interface().(reader)
		if !ok {
			t.Fatal("no UnmarshalText")
		}
		return p.Elem(), text, into
	}
	seen := make(map[string]bool)
	for i := range last.Uint() + 1 {
		_, v, _ := value(i)
		text, err := v.MarshalText()
		if err != nil || !texts.Match(text) || seen[string(text)] {
			t.Errorf("%d has the text %q, %v", i, text, err)
		}
		seen[string(text)] = true
		got, _, into := value(255)
		if err := into.UnmarshalText(text); err != nil || got.Uint() != i {
			t.Errorf("%q is read as %d, %v, want %d", text, got.Uint(), err, i)
		}
	}
	for _, i := range []uint64{last.Uint() + 1, 255} {
		_, v, _ := value(i)
		if text, err := v.MarshalText(); err == nil {
			t.Errorf("%d, which is none, has the text %q", i, text)
		}
	}
	for _, text := range []string{"nonsense", "0", " "} {
		got, _, into := value(1)
		if err := into.UnmarshalText([]byte(text)); err == nil || got.Uint() != 1 {
			t.Errorf("%q is read as %d, %v", text, got.Uint(), err)
		}
	}
}

// declaredEnums are the exported types of integers that have constants, in the public
// packages.
func declaredEnums(t *testing.T) (list []string) {
	nested := nestedModules(t)
	constants := make(map[string]bool)
	var types []string
	for _, s := range sources(t) {
		if s.isTest() || strings.Contains("/"+s.path, "/internal/") ||
			slices.ContainsFunc(nested, func(dir string) bool { return within(s.dir(), dir) }) {
			continue
		}
		pkg := path.Base(s.dir())
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				if of, ok := n.Type.(*ast.Ident); ok && n.Name.IsExported() && regexp.MustCompile(`^(u?int\d*|byte)$`).MatchString(of.Name) {
					types = append(types, pkg+"."+n.Name.Name)
				}
			case *ast.ValueSpec:
				if of, ok := n.Type.(*ast.Ident); ok {
					constants[pkg+"."+of.Name] = true
				}
			}
			return true
		})
	}
	for _, name := range types {
		if constants[name] {
			list = append(list, name)
		}
	}
	if len(list) < 30 {
		t.Fatalf("only %q are found", list)
	}
	return list
}
