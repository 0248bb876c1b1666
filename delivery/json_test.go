package delivery

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/object"
	"github.com/nexthop-mail/nexthop/mx"
)

// TestEventAsEncodingJSON: an event is encoded as package encoding/json would do it, whatever
// hosts and senders put into it.
func TestEventAsEncodingJSON(t *testing.T) {
	type stages struct {
		DNS   float64 `json:"dns,omitzero"`
		Reply float64 `json:"reply,omitzero"`
	}
	odd := []string{
		"", "plain", "<id@host> & more", "a \"quoted\" \\ word", "two\nlines\r\n", "tab\t\x00\x1f\x7f", "gr\u00fc\u00dfe",
		"\u2028\u2029", "bad \xff\xc3( octets", strings.Repeat("long ", 400), "\U0001f4e7",
	}
	durations := []time.Duration{0, 1, 499, 500, 1500, time.Microsecond, time.Millisecond / 3, time.Second, 100 * time.Hour, -time.Second, math.MaxInt64}
	for i, text := range odd {
		for j, d := range durations {
			e := Event{
				Time: time.Unix(1e9+int64(j), int64(d)%1e9), Kind: Delivered, ID: "id", From: text, Recipient: "r" + text, Attempt: j, Host: text,
				Code: 250 - i, Enhanced: "2.0.0", Reply: text, Tenant: text, Via: mx.ViaMX, BounceID: text, Duration: d, Age: 2 * d,
				Stages: Stages{DNS: d, Reply: d / 2},
			}
			if i%2 == 1 {
				e.Metadata = map[string]string{text: text, "a": ""}
			}
			want := struct {
				Time      string            `json:"time"`
				Event     string            `json:"event"`
				ID        string            `json:"id"`
				From      string            `json:"from"`
				Recipient string            `json:"recipient"`
				Attempt   int               `json:"attempt"`
				Host      string            `json:"host"`
				Addr      string            `json:"addr"`
				Code      int               `json:"code"`
				Enhanced  string            `json:"enhanced"`
				Reply     string            `json:"reply"`
				TLS       string            `json:"tls"`
				Tenant    string            `json:"tenant,omitempty"`
				Route     string            `json:"route,omitempty"`
				Duration  float64           `json:"duration,omitzero"`
				Stages    stages            `json:"stages,omitzero"`
				Age       float64           `json:"age,omitzero"`
				Bounce    string            `json:"bounce,omitempty"`
				Metadata  map[string]string `json:"metadata,omitempty"`
			}{
				object.Instant(e.Time), "delivered", "id", text, "r" + text, j, text, "", e.Code, "2.0.0", text, "", text, "", object.Seconds(d),
				stages{object.Seconds(d), object.Seconds(d / 2)}, object.Seconds(2 * d), text, e.Metadata,
			}
			if text != "" && j > 0 {
				want.Route = e.Via.String()
			}
			got, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			if wanted, _ := json.Marshal(want); string(got) != string(wanted) {
				t.Fatalf("%s\nwant\n%s", got, wanted)
			}
			if own, _ := e.MarshalJSON(); strings.Contains(text, "<id@host>") != strings.Contains(string(own), "<id@host>") {
				t.Errorf("angle brackets do not stay: %s", own)
			}
		}
	}
}
