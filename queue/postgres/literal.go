package postgres

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// literal is an argument as text that every driver passes on as it is: what the server
// reads of it, the cast in the statement says.
func literal(arg any) any {
	switch a := arg.(type) {
	case *int64:
		if a == nil {
			return nil
		}
		return strconv.FormatInt(*a, 10)
	case bool:
		return strconv.FormatBool(a)
	case int32:
		return strconv.FormatInt(int64(a), 10)
	case int64:
		return strconv.FormatInt(a, 10)
	case []byte:
		return bytesLiteral(a)
	case []*int64:
		return arrayLiteral(a, func(n *int64) string {
			if n == nil {
				return "NULL"
			}
			return strconv.FormatInt(*n, 10)
		})
	case []*int32:
		return arrayLiteral(a, func(n *int32) string {
			if n == nil {
				return "NULL"
			}
			return strconv.FormatInt(int64(*n), 10)
		})
	case []int16:
		return arrayLiteral(a, func(n int16) string { return strconv.Itoa(int(n)) })
	case []int32:
		return arrayLiteral(a, func(n int32) string { return strconv.Itoa(int(n)) })
	case []int64:
		return arrayLiteral(a, func(n int64) string { return strconv.FormatInt(n, 10) })
	case []bool:
		return arrayLiteral(a, strconv.FormatBool)
	case []string:
		return arrayLiteral(a, quoted)
	case [][]byte:
		return arrayLiteral(a, func(b []byte) string {
			if b == nil {
				return "NULL"
			}
			return quoted(bytesLiteral(b))
		})
	}
	return arg // text
}

func bytesLiteral(b []byte) string { return `\x` + hex.EncodeToString(b) }

// quoted is an element of an array.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func arrayLiteral[T any](list []T, text func(T) string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, one := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(text(one))
	}
	b.WriteByte('}')
	return b.String()
}
