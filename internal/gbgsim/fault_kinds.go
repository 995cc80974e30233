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

// faultSpec is what there is to know of a [FaultKind] apart from doing it.
type faultSpec struct {
	kind FaultKind

	// summary is one line for the help.
	summary string

	// parameters are the names of its parameters in JSON, apart from kind and
	// requests, which all take.
	parameters []string

	// check looks at the parameters' values. Nil accepts any.
	check func(Fault) error
}

// faultSpecs are all kinds, in the help's order.
var faultSpecs = []faultSpec{
	{
		kind:  FaultStatus,
		summary: "an error status, as HTML, as OAuth's error or as GBG's gbg_error {code,name,location,problem,action}",
		parameters: []string{
			"endpoint", "client_id", "delay", "status", "error", "error_description", "gbg_error", "request_id", "retry_after", "retry_after_date",
		},
		check: checkStatusFault,
	},
	{
		kind:  FaultBody,
		summary: "status 200 or another, with any body or none",
		parameters: []string{"endpoint", "client_id", "delay", "status", "body", "content_type"},
		check: checkBodyFault,
	},
	{
		kind:  FaultNullToken,
		summary: "status 200, with null for token, type and lifetime",
		parameters: []string{"endpoint", "client_id", "delay"},
	},
	{
		kind:  FaultRedirect,
		summary: "status 302 or another, with a location",
		parameters: []string{"endpoint", "client_id", "delay", "status", "location"},
		check: checkRedirectFault,
	},
	{
		kind:  FaultClose,
		summary: "no answer, the connection is closed",
		parameters: []string{"endpoint", "client_id", "delay"},
	},
	{
		kind:  FaultReset,
		summary: "no answer, the connection is reset",
		parameters: []string{"endpoint", "client_id", "delay"},
	},
	{
		kind:  FaultDelay,
		summary: "the right answer after a delay",
		parameters: []string{"endpoint", "client_id", "delay"},
		check: checkDelayFault,
	},
	{
		kind:  FaultHang,
		summary: "no answer until the faults are cleared",
		parameters: []string{"endpoint", "client_id"},
	},
	{
		kind:  FaultTruncate,
		summary: "half of the right answer",
		parameters: []string{"endpoint", "client_id", "delay"},
	},
	{
		kind:  FaultOversize,
		summary: "the right answer, padded to a size in bytes, 1 MiB and a byte unless given",
		parameters: []string{"endpoint", "client_id", "delay", "size"},
		check: checkOversizeFault,
	},
	{
		kind:  FaultExpiresIn,
		summary: "the right answer with any JSON value as expires_in, or without it",
		parameters: []string{"endpoint", "client_id", "delay", "expires_in"},
		check: checkExpiresInFault,
	},
	{
		kind:  FaultScope,
		summary: "the right answer with a scope",
		parameters: []string{"endpoint", "client_id", "delay", "scope"},
		check: checkScopeFault,
	},
	{
		kind:  FaultExpiredCertificate,
		summary: "a certificate that has expired, on new TLS connections",
	},
	{
		kind:  FaultUntrustedCertificate,
		summary: "a certificate of an authority unknown to all, on new TLS connections",
	},
}

// isConnectionFault says whether a kind of fault hits connections, not requests.
func (k FaultKind) isConnectionFault() bool {
	return k == FaultExpiredCertificate || k == FaultUntrustedCertificate
}

// check says why a fault makes no sense.
func (f Fault) check() error {
	index := slices.IndexFunc(faultSpecs, func(known faultSpec) bool { return known.kind == f.Kind })
	if index < 0 {
		return fmt.Errorf("kind %q is not one of %s", f.Kind, strings.Join(faultKindNames(), ", "))
	}
	known := faultSpecs[index]
	for _, name := range f.parameters() {
		if !slices.Contains(known.parameters, name) {
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
	if known.check == nil {
		return nil
	}

	return known.check(f)
}

// parameters returns the names of the parameters that are not zero, apart from
// those that every kind takes.
func (f Fault) parameters() []string {
	var names []string
	for _, parameter := range []struct {
		name  string
		given bool
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
		if parameter.given {
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
		return fmt.Errorf("an answer with status %d has no body", f.Status)
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

// FaultKinds returns all kinds, in the help's order.
func FaultKinds() []FaultKind {
	kinds := make([]FaultKind, 0, len(faultSpecs))
	for _, known := range faultSpecs {
		kinds = append(kinds, known.kind)
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
