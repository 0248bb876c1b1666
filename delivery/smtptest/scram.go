package smtptest

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"strings"
)

const (
	scramIterations = 4096
	scramNonce      = "3rfcNHYJY1ZVvWVs7j"
)

// scram is SCRAM-SHA-256 (RFC 5802, RFC 7677), with a channel binding where
// plus is set.
func (e *exchange) scram(plus bool) (string, bool, error) {
	p, err := e.first()
	if err != nil {
		return "", false, err
	}
	header, bare, ok := cutGS2(string(p))
	if !ok || strings.HasPrefix(header, "p=") != plus || !plus && strings.HasPrefix(header, "y") && e.offersPlus() {
		return "", false, nil
	}
	first := scramFields(bare)
	user := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(first["n"])
	password, known := e.s.host.Users[user]
	nonce := first["r"] + scramNonce
	salt := sha256.Sum256([]byte(user))
	challenge := "r=" + nonce + ",s=" + base64.StdEncoding.EncodeToString(salt[:16]) + ",i=4096"
	p, err = e.ask([]byte(challenge))
	if err != nil {
		return "", false, err
	}
	final := string(p)
	without, proof, ok := cutLast(final, ",p=")
	last := scramFields(without)
	if !ok || first["r"] == "" || last["r"] != nonce || last["c"] != e.binding(header) {
		return user, false, nil
	}
	message := bare + "," + challenge + "," + without
	signature, ok := scramVerify(password, salt[:16], message, proof)
	if !ok || !known {
		return user, false, nil
	}
	_, err = e.ask([]byte("v=" + signature))
	return user, err == nil, err
}

func (e *exchange) offersPlus() bool {
	return strings.Contains(strings.ToUpper(e.s.extensions["AUTH"])+" ", "-PLUS ")
}

// cutGS2 splits the header `n,,` from the rest of the first message.
func cutGS2(text string) (header, bare string, ok bool) {
	parts := strings.SplitN(text, ",", 3)
	if len(parts) != 3 {
		return "", "", false
	}
	return parts[0] + "," + parts[1] + ",", parts[2], true
}

func scramFields(text string) map[string]string {
	fields := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		if key, value, ok := strings.Cut(part, "="); ok {
			fields[key] = value
		}
	}
	return fields
}

// binding is the channel-binding field the client must send.
func (e *exchange) binding(header string) string {
	data := []byte(header)
	if kind, ok := strings.CutPrefix(strings.SplitN(header, ",", 2)[0], "p="); ok {
		data = append(data, e.s.channel(kind)...)
	}
	return base64.StdEncoding.EncodeToString(data)
}

// channel is the binding data of the connection's TLS: RFC 9266 and RFC 5929.
func (s *session) channel(kind string) []byte {
	conn, ok := s.conn.(*tls.Conn)
	if !ok {
		return nil
	}
	state := conn.ConnectionState()
	switch kind {
	case "tls-exporter":
		data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
		if err != nil {
			return nil
		}
		return data
	case "tls-unique":
		return state.TLSUnique
	default:
		return nil
	}
}

// scramVerify checks a proof, and returns the server's signature.
func scramVerify(password string, salt []byte, message, proof string) (string, bool) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return "", false
	}
	sum := func(key []byte, text string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	clientKey := sum(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	want := sum(stored[:], message)
	for i := range want {
		want[i] ^= clientKey[i]
	}
	got, err := base64.StdEncoding.DecodeString(proof)
	if err != nil || !hmac.Equal(got, want) {
		return "", false
	}
	return base64.StdEncoding.EncodeToString(sum(sum(salted, "Server Key"), message)), true
}
