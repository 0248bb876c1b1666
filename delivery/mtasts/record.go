package mtasts

import "strings"

// ParseRecord returns the id of the policy from all TXT records at _mta-sts (RFC 8461
// section 3.1). Records that do not begin with "v=STSv1;" do not count. If there is
// none, if there are several, or if the only one is invalid, ok is false, and why says
// so in a few words.
func ParseRecord(records []string) (id string, ok bool, why string) {
	found := ""
	for _, record := range records {
		if !strings.HasPrefix(record, "v=STSv1;") {
			continue
		}
		if found != "" {
			return "", false, "several records"
		}
		found = record
	}
	if found == "" {
		return "", false, "no record"
	}
	for _, field := range strings.Split(found, ";")[1:] {
		key, value, _ := strings.Cut(strings.Trim(field, " \t"), "=")
		if strings.TrimRight(key, " \t") != "id" {
			continue
		}
		value = strings.TrimLeft(value, " \t")
		if value == "" || len(value) > 32 {
			return "", false, "an id that has not 1 to 32 characters"
		}
		for i := 0; i < len(value); i++ {
			if !isAlphanumeric(value[i]) {
				return "", false, "an id with other characters than letters and digits"
			}
		}
		return value, true, ""
	}
	return "", false, "no id"
}
