package plugintest

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// faultClass is what a fault means for whoever asks, as the contract has it.
type faultClass int

const (
	// harmless: a token comes all the same.
	harmless faultClass = iota + 1
	// temporary: it may come later, so it is asked for again.
	temporary
	// refusesClient: another client may do better.
	refusesClient
	// refusesRequest: nothing helps.
	refusesRequest
	// foreign: no token endpoint has answered, so nobody is refused.
	foreign
)

// classified is a fault and its class.
type classified struct {
	name  string
	fault gbgsim.Fault
	class faultClass
	// costly says that it is met in few states.
	costly bool
}

// tries is how often one client's token is asked for before it is given up.
func (c classified) tries() int {
	switch {
	case c.class != temporary:
		return 1
	case c.fault.Kind == gbgsim.FaultHang: // each takes half the time there is
		return 2
	}
	return len(retryPauses) + 1
}

// ofConnection says that no request comes through.
func (c classified) ofConnection() bool {
	return c.fault.Kind == gbgsim.FaultExpiredCertificate || c.fault.Kind == gbgsim.FaultUntrustedCertificate
}

// matrixFaults are all kinds of faults, some in several forms.
var matrixFaults = []classified{
	{name: "invalid_client", fault: gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusUnauthorized, Error: "invalid_client", ErrorDescription: "Who is it?"}, class: refusesClient},
	{name: "unauthorized_client", fault: gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusBadRequest, Error: "unauthorized_client"}, class: refusesClient},
	{name: "invalid_scope", fault: gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusBadRequest, Error: "invalid_scope"}, class: refusesRequest},
	{name: "GBG GO's own form", fault: gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusForbidden, GBGError: gbgsim.GBGError{Name: "FORBIDDEN", Problem: "It is locked."}}, class: refusesRequest},
	{name: "404 as a page", fault: gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusNotFound}, class: foreign},
	{name: "an empty 401", fault: gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusUnauthorized}, class: foreign},
	{name: "an error that is no code", fault: gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusBadRequest, Error: "Service in maintenance"}, class: foreign},
	{name: "a proxy's 407", fault: gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusProxyAuthRequired}, class: temporary},
	{name: "408", fault: gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusRequestTimeout}, class: temporary},
	{name: "429", fault: gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusTooManyRequests}, class: temporary},
	{name: "500", fault: gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusInternalServerError}, class: temporary},
	{name: "503 that says invalid_client", fault: gbgsim.Fault{Kind: gbgsim.FaultStatus, Status: http.StatusServiceUnavailable, Error: "invalid_client"}, class: temporary},
	{name: "a page", fault: gbgsim.Fault{Kind: gbgsim.FaultBody, Body: "<html>"}, class: temporary},
	{name: "nothing", fault: gbgsim.Fault{Kind: gbgsim.FaultBody}, class: temporary},
	{name: "null", fault: gbgsim.Fault{Kind: gbgsim.FaultNullToken}, class: temporary},
	{name: "a redirect", fault: gbgsim.Fault{Kind: gbgsim.FaultRedirect, Location: "/elsewhere"}, class: temporary},
	{name: "a closed connection", fault: gbgsim.Fault{Kind: gbgsim.FaultClose}, class: temporary},
	{name: "a reset connection", fault: gbgsim.Fault{Kind: gbgsim.FaultReset}, class: temporary},
	{name: "a late answer", fault: gbgsim.Fault{Kind: gbgsim.FaultDelay, Delay: time.Millisecond}, class: harmless},
	{name: "no answer", fault: gbgsim.Fault{Kind: gbgsim.FaultHang}, class: temporary},
	{name: "half an answer", fault: gbgsim.Fault{Kind: gbgsim.FaultTruncate}, class: temporary},
	{name: "too large an answer", fault: gbgsim.Fault{Kind: gbgsim.FaultOversize}, class: temporary, costly: true},
	{name: "a large answer", fault: gbgsim.Fault{Kind: gbgsim.FaultOversize, Size: 4 << 10}, class: harmless},
	{name: "no expires_in", fault: gbgsim.Fault{Kind: gbgsim.FaultExpiresIn}, class: harmless},
	{name: "expires_in as a text", fault: gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: `"3600"`}, class: harmless},
	{name: "expires_in beyond reason", fault: gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: "1e300"}, class: harmless},
	{name: "expires_in zero", fault: gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: "0"}, class: temporary},
	{name: "expires_in negative", fault: gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: "-1"}, class: temporary},
	{name: "expires_in no number", fault: gbgsim.Fault{Kind: gbgsim.FaultExpiresIn, ExpiresIn: `"soon"`}, class: temporary},
	{name: "another scope", fault: gbgsim.Fault{Kind: gbgsim.FaultScope, Scope: "gbg.token more"}, class: harmless},
	{name: "an expired certificate", fault: gbgsim.Fault{Kind: gbgsim.FaultExpiredCertificate}, class: temporary},
	{name: "an untrusted certificate", fault: gbgsim.Fault{Kind: gbgsim.FaultUntrustedCertificate}, class: temporary},
}

func TestFaultMatrixKnowsEveryKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known := map[gbgsim.FaultKind]bool{}
		for _, c := range matrixFaults {
			known[c.fault.Kind] = true
		}
		for _, kind := range gbgsim.FaultKinds() {
			assert.True(t, known[kind], "%s is not in matrixFaults: what is it to mean?", kind)
		}
	})
}
