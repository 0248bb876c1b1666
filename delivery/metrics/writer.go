package metrics

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ContentType is the media type of the text format, for HTTP.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Writer writes metrics in the text format of Prometheus, version 0.0.4. Programs use
// it to add numbers to those of a Recorder. The samples of one metric must follow each
// other. It is not safe for concurrent use.
type Writer struct {
	w     *bufio.Writer
	last  string          // the metric being written
	known map[string]bool // those that were
	err   error
}

// NewWriter returns a Writer on w. Its output is complete after Flush.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: bufio.NewWriter(w), known: make(map[string]bool)}
}

// Label is a name and a value.
type Label struct{ Name, Value string }

// Counter writes a sample of a counter. Its name must end in "_total".
func (w *Writer) Counter(name, help string, value float64, labels ...Label) {
	if !strings.HasSuffix(name, "_total") {
		w.fail("the name of the counter %q does not end in _total", name)
		return
	}
	w.begin(name, help, "counter")
	w.sample(name, value, labels)
}

// Gauge writes a sample of a gauge.
func (w *Writer) Gauge(name, help string, value float64, labels ...Label) {
	w.begin(name, help, "gauge")
	w.sample(name, value, labels)
}

// Histogram writes a histogram. counts has the number of values for each bound: those
// that are at most that bound and above the previous one. It has one more element, for
// values above all bounds.
func (w *Writer) Histogram(name, help string, bounds []float64, counts []uint64, sum float64, labels ...Label) {
	if len(counts) != len(bounds)+1 {
		w.fail("histogram %q has %d bounds and %d counts", name, len(bounds), len(counts))
		return
	}
	w.begin(name, help, "histogram")
	var all uint64
	with := append(append(make([]Label, 0, len(labels)+1), labels...), Label{Name: "le"})
	for i, n := range counts {
		bound := math.Inf(1)
		if i < len(bounds) {
			bound = bounds[i]
		}
		all += n
		with[len(labels)].Value = number(bound)
		w.sample(name+"_bucket", float64(all), with)
	}
	w.sample(name+"_sum", sum, labels)
	w.sample(name+"_count", float64(all), labels)
}

// Flush writes buffered output, and returns the first error: an invalid metric name, a
// metric in two places, or an error of the io.Writer.
func (w *Writer) Flush() error { return errors.Join(w.err, w.w.Flush()) }

func (w *Writer) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("metrics: "+format, args...)
	}
}

// begin writes what comes before the first sample of a metric.
func (w *Writer) begin(name, help, kind string) {
	if name == w.last && name != "" {
		return
	}
	if !isName(name, true) {
		w.fail("%q is not a metric name", name)
	}
	if w.known[name] {
		w.fail("%q is in two places", name)
	}
	w.known[name], w.last = true, name
	fmt.Fprintf(w.w, "# HELP %s %s\n# TYPE %s %s\n", name, strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(help), name, kind)
}

func (w *Writer) sample(name string, value float64, labels []Label) {
	_, _ = w.w.WriteString(name) // Flush has the error
	for i, l := range labels {
		if !isName(l.Name, false) {
			w.fail("%q is not a label name", l.Name)
		}
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		_ = w.w.WriteByte(sep)
		fmt.Fprintf(w.w, `%s="%s"`, l.Name, escaped(l.Value))
	}
	if len(labels) > 0 {
		_ = w.w.WriteByte('}')
	}
	fmt.Fprintf(w.w, " %s\n", number(value))
}

// escaped is the value of a label as it is written.
func escaped(value string) string {
	if !utf8.ValidString(value) {
		value = strings.ToValidUTF8(value, "\ufffd")
	}
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(value)
}

func number(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		return strconv.FormatInt(int64(v), 10)
	default:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
}

// isName reports whether a text can name a metric, or else a label, which has no colons and
// does not begin with two underscores.
func isName(s string, metric bool) bool {
	if s == "" || !metric && strings.HasPrefix(s, "__") {
		return false
	}
	for i, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c == ':' && metric:
		case '0' <= c && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return true
}
