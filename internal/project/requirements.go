// Package project holds what the repository promises about itself: who may
// import whom, how large a file may be, what is documented, and which
// requirements the tests show.
package project

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

var number = regexp.MustCompile(`\b(MX|SMTP|TLS|QUE|DSN|EXT|I18N)-([0-9]+)\b`)

// IDs are the numbers of requirements in a text, such as "MX-23", in its order.
func IDs(text string) []string { return number.FindAllString(text, -1) }

// Requirements are the numbers in docs/requirements.md below root, in its order.
func Requirements(root string) ([]string, error) {
	return firstColumn(filepath.Join(root, "docs", "requirements.md"))
}

// NotShown are the rows of docs/not-shown.md with their reasons. A row of the
// table may name several numbers and ranges: "MX-32, TLS-12 … TLS-53".
func NotShown(root string) (map[string]string, error) {
	data, err := os.ReadFile(filepath.Join(root, "docs", "not-shown.md"))
	if err != nil {
		return nil, err
	}
	reasons := make(map[string]string)
	for line := range strings.SplitSeq(string(data), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for item := range strings.SplitSeq(cells[1], ",") {
			ids, err := expand(strings.TrimSpace(item))
			if err != nil {
				return nil, err
			}
			for _, id := range ids {
				reasons[id] = strings.TrimSpace(cells[2])
			}
		}
	}
	return reasons, nil
}

// expand is the numbers of "MX-32" or "TLS-12 … TLS-53".
func expand(item string) ([]string, error) {
	m := number.FindAllStringSubmatch(item, -1)
	switch len(m) {
	case 0:
		return nil, nil
	case 1:
		return []string{m[0][0]}, nil
	}
	from, err := strconv.Atoi(m[0][2])
	if err != nil {
		return nil, err
	}
	to, err := strconv.Atoi(m[1][2])
	if err != nil {
		return nil, err
	}
	if m[0][1] != m[1][1] || from > to {
		return nil, fmt.Errorf("docs/not-shown.md: %q is no range", item)
	}
	var ids []string
	for n := from; n <= to; n++ {
		ids = append(ids, fmt.Sprintf("%s-%d", m[0][1], n))
	}
	return ids, nil
}

func firstColumn(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var ids []string
	for line := range strings.SplitSeq(string(data), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) > 2 {
			if id := strings.TrimSpace(cells[1]); id != "" && number.FindString(id) == id {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}
