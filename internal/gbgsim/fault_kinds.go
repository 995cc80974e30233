package gbgsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Limits of [Fault.Size], in bytes.
const (
	minSize     = 1 << 10
	maxSize     = 64 << 20
	defaultSize = 1<<20 + 1
)

// faultSpec describes a [FaultKind].
type faultSpec struct {
	kind FaultKind

	// summary is one line of the help.
	summary string

	// parameters are the JSON names of its parameters, except kind and requests,
	// which all kinds have.
	parameters []string

	// check validates the values of the parameters. Nil accepts all.
	check func(Fault) error
}

// faultSpecs are all kinds, in the order of the help.
var faultSpecs = []faultSpec{
	{
		kind:    FaultStatus,
		summary: "an error status with HTML, an OAuth error or a GBG error: gbg_error {code,name,location,problem,action}",
		parameters: []string{
			"endpoint", "client_id", "delay", "status", "error", "error_description", "gbg_error", "request_id", "retry_after", "retry_after_date",
		},
		check: checkStatusFault,
	},
	{
		kind:       FaultBody,
		summary:    "any body, with status 200 or another",
		parameters: []string{"endpoint", "client_id", "delay", "status", "body", "content_type"},
		check:      checkBodyFault,
	},
	{
		kind:       FaultNullToken,
		summary:    "status 200 with null for access_token, token_type and expires_in",
		parameters: []string{"endpoint", "client_id", "delay"},
	},
	{
		kind:       FaultRedirect,
		summary:    "a redirect to location, with status 302 or another",
		parameters: []string{"endpoint", "client_id", "delay", "status", "location"},
		check:      checkRedirectFault,
	},
	{
		kind:       FaultClose,
		summary:    "no response, the connection is closed",
		parameters: []string{"endpoint", "client_id", "delay"},
	},
	{
		kind:       FaultReset,
		summary:    "no response, the connection is reset",
		parameters: []string{"endpoint", "client_id", "delay"},
	},
	{
		kind:       FaultDelay,
		summary:    "the usual response after a delay",
		parameters: []string{"endpoint", "client_id", "delay"},
		check:      checkDelayFault,
	},
	{
		kind:       FaultHang,
		summary:    "no response until the faults are cleared",
		parameters: []string{"endpoint", "client_id"},
	},
	{
		kind:       FaultTruncate,
		summary:    "half of the usual response",
		parameters: []string{"endpoint", "client_id", "delay"},
	},
	{
		kind:       FaultOversize,
		summary:    "the usual response, padded to size bytes; 1 MiB and one byte by default",
		parameters: []string{"endpoint", "client_id", "delay", "size"},
		check:      checkOversizeFault,
	},
	{
		kind:       FaultExpiresIn,
		summary:    "the usual response with any JSON value as expires_in, or without expires_in",
		parameters: []string{"endpoint", "client_id", "delay", "expires_in"},
		check:      checkExpiresInFault,
	},
	{
		kind:       FaultScope,
		summary:    "the usual response with a scope",
		parameters: []string{"endpoint", "client_id", "delay", "scope"},
		check:      checkScopeFault,
	},
	{
		kind:    FaultExpiredCertificate,
		summary: "an expired certificate on new TLS connections",
	},
	{
		kind:    FaultUntrustedCertificate,
		summary: "a certificate of an untrusted authority on new TLS connections",
	},
}

// isConnectionFault reports whether the kind is one of connections, not requests.
func (k FaultKind) isConnectionFault() bool {
	return k == FaultExpiredCertificate || k == FaultUntrustedCertificate
}

// check returns an error if a fault is invalid.
func (f Fault) check() error {
	index := slices.IndexFunc(faultSpecs, func(spec faultSpec) bool { return spec.kind == f.Kind })
	if index < 0 {
		return fmt.Errorf("kind %q is not one of %s", f.Kind, strings.Join(faultKindNames(), ", "))
	}
	spec := faultSpecs[index]
	for _, name := range f.parameters() {
		if !slices.Contains(spec.parameters, name) {
			return fmt.Errorf("%s has no meaning for a fault of kind %q", name, f.Kind)
		}
	}
	if err := f.Endpoint.check(); err != nil {
		return err
	}
	if err := checkClientID(f.ClientID); err != nil {
		return err
	}
	if f.Requests < 0 {
		return fmt.Errorf("requests %d is negative; 0 is all until the fault is cleared", f.Requests)
	}
	if f.Delay < 0 {
		return fmt.Errorf("delay %v is negative", f.Delay)
	}
	if spec.check == nil {
		return nil
	}

	return spec.check(f)
}

// parameters returns the names of the parameters that are not zero, except those
// that every kind has.
func (f Fault) parameters() []string {
	var names []string
	for _, parameter := range []struct {
		name string
		set  bool
	}{
		{"endpoint", f.Endpoint != ""},
		{"client_id", f.ClientID != ""},
		{"delay", f.Delay != 0},
		{"status", f.Status != 0},
		{"error", f.Error != ""},
		{"error_description", f.ErrorDescription != ""},
		{"gbg_error", f.GBGError != GBGError{}},
		{"request_id", f.RequestID != ""},
		{"retry_after", f.RetryAfter != ""},
		{"retry_after_date", f.RetryAfterDate != 0},
		{"body", f.Body != ""},
		{"content_type", f.ContentType != ""},
		{"location", f.Location != ""},
		{"size", f.Size != 0},
		{"expires_in", f.ExpiresIn != ""},
		{"scope", f.Scope != ""},
	} {
		if parameter.set {
			names = append(names, parameter.name)
		}
	}

	return names
}

func checkStatusFault(f Fault) error {
	switch {
	case f.Status < 400 || f.Status > 599:
		return fmt.Errorf("status %d is not an error status from 400 to 599", f.Status)
	case f.ErrorDescription != "" && f.Error == "":
		return errors.New("error_description is there without error")
	case f.Error != "" && f.GBGError != GBGError{}:
		return errors.New("error and gbg_error exclude each other")
	case f.RetryAfter != "" && f.RetryAfterDate != 0:
		return errors.New("retry_after and retry_after_date exclude each other")
	}

	return nil
}

func checkBodyFault(f Fault) error {
	switch {
	case f.Status == 0:
	case f.Status < 200 || f.Status > 599:
		return fmt.Errorf("status %d is not from 200 to 599", f.Status)
	case f.Status == http.StatusNoContent || f.Status == http.StatusNotModified:
		return fmt.Errorf("a response with status %d has no body", f.Status)
	}

	return nil
}

func checkRedirectFault(f Fault) error {
	switch f.Status {
	case 0, http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return fmt.Errorf("status %d is not a redirect: 301, 302, 303, 307 or 308", f.Status)
	}
	if f.Location == "" {
		return errors.New("location is missing")
	}
	if _, err := url.Parse(f.Location); err != nil {
		return fmt.Errorf("location %q is not a URL or a path", f.Location)
	}

	return nil
}

func checkDelayFault(f Fault) error {
	if f.Delay == 0 {
		return errors.New("delay is missing")
	}

	return nil
}

func checkOversizeFault(f Fault) error {
	if f.Size != 0 && (f.Size < minSize || f.Size > maxSize) {
		return fmt.Errorf("size %d is not from %d to %d bytes", f.Size, minSize, maxSize)
	}

	return nil
}

func checkExpiresInFault(f Fault) error {
	if f.ExpiresIn != "" && !json.Valid([]byte(f.ExpiresIn)) {
		return fmt.Errorf("expires_in %q is not JSON", f.ExpiresIn)
	}

	return nil
}

func checkScopeFault(f Fault) error {
	if f.Scope == "" {
		return errors.New("scope is missing")
	}

	return nil
}

// FaultKinds returns all kinds, in the order of the help.
func FaultKinds() []FaultKind {
	kinds := make([]FaultKind, 0, len(faultSpecs))
	for _, spec := range faultSpecs {
		kinds = append(kinds, spec.kind)
	}

	return kinds
}

func faultKindNames() []string {
	names := make([]string, 0, len(faultSpecs))
	for _, kind := range FaultKinds() {
		names = append(names, string(kind))
	}

	return names
}
