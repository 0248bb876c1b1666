package mtasts

// ResultType is the type of a failure in TLS reports, in the words of RFC 8460 section
// 4.3.2.2.
type ResultType string

// The result types of policies.
const (
	// FetchError: the policy could not be fetched.
	FetchError ResultType = "sts-policy-fetch-error"
	// PolicyInvalid: the policy is not valid.
	PolicyInvalid ResultType = "sts-policy-invalid"
	// WebPKIInvalid: the certificate of the policy host is not valid.
	WebPKIInvalid ResultType = "sts-webpki-invalid"
)

// Error says why the policy of a domain could not be obtained.
type Error struct {
	// Type is the result type for reports.
	Type ResultType
	// Reason is more specific: one word for failure-reason-code in reports.
	Reason string
	// Text is the reason for people.
	Text string
	// Err is the cause; it may be nil.
	Err error
}

// Error returns the text and the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return e.Text + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// ResultType returns Type, for code that handles several kinds of policies.
func (e *Error) ResultType() string { return string(e.Type) }

// ReasonCode returns Reason.
func (e *Error) ReasonCode() string { return e.Reason }
