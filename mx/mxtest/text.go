package mxtest

import (
	"encoding/hex"
	"strings"
)

// plainText is the character-strings of a TXT record, as they are escaped in
// zone text, joined without blanks between them.
func plainText(escaped []string) string {
	var b strings.Builder
	for _, s := range escaped {
		for i := 0; i < len(s); i++ {
			switch {
			case s[i] != '\\' || i+1 == len(s):
				b.WriteByte(s[i])
			case i+3 < len(s) && isDigit(s[i+1]) && isDigit(s[i+2]) && isDigit(s[i+3]):
				b.WriteByte((s[i+1]-'0')*100 + (s[i+2]-'0')*10 + s[i+3] - '0')
				i += 3
			default:
				i++
				b.WriteByte(s[i])
			}
		}
	}
	return b.String()
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// hexBytes returns the data of a TLSA record. The parser accepts text that is not
// hexadecimal; readZone does not.
func hexBytes(s string) []byte {
	data, _ := hex.DecodeString(s)
	return data
}
