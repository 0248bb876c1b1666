package mtasts

// ResultType is what a report of TLS counts a failure as, in the words of RFC 8460
// section 4.3.2.2.
type ResultType string

// The result types of policies.
const (
	// FetchError: the policy could not be fetched.
	FetchError ResultType = "sts-policy-fetch-error"
	// PolicyInvalid: it could, and is not valid.
	PolicyInvalid ResultType = "sts-policy-invalid"
	// WebPKIInvalid: the certificate of the policy host is not.
	WebPKIInvalid ResultType = "sts-webpki-invalid"
)

// Error is why a domain's policy could not be had.
type Error struct {
	// Type is what reports count it as.
	Type ResultType
	// Reason is the same more exactly, as one word for failure-reason-code of reports.
	Reason string
	// Text says it to people.
	Text string
	// Err is the cause; it may be nil.
	Err error
}

// Error is the text, and the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return e.Text + ": " + e.Err.Error()
}

// Unwrap is Err.
func (e *Error) Unwrap() error { return e.Err }

// ResultType is Type, for those who know several kinds of policies.
func (e *Error) ResultType() string { return string(e.Type) }

// ReasonCode is Reason.
func (e *Error) ReasonCode() string { return e.Reason }
