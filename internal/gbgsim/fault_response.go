package gbgsim

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// nullToken is the example response in GBG's documentation.
const nullToken = `{"access_token":null,"expires_in":null,"token_type":null}`

// wait waits for the fault's delay or until the request ends. It reports false if
// the fault was cleared meanwhile. No lock may be held.
func (f Fault) wait(w http.ResponseWriter, r *http.Request, cleared <-chan struct{}) bool {
	if f.Delay == 0 && f.Kind != FaultHang {
		return true
	}

	// The server detects that a client has disconnected only after the body has been
	// read.
	_, _ = io.Copy(io.Discard, r.Body)
	// The timeouts of Serve are too short for a delayed response. A writer without
	// deadlines returns an error, which is ignored.
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(time.Time{})
	_ = controller.SetWriteDeadline(time.Time{})

	var expired <-chan time.Time // nil for a hang, which has no timeout
	if f.Kind != FaultHang {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-expired:
		return true
	case <-r.Context().Done():
		return true
	case <-cleared:
		return false
	}
}

// writeFault writes the response of a fault that replaces the endpoint's response.
// For other kinds it does nothing and reports false. It panics with
// [http.ErrAbortHandler] to close the connection.
func writeFault(w http.ResponseWriter, fault Fault) bool {
	switch fault.Kind {
	case FaultStatus:
		writeStatusFault(w, fault)
	case FaultBody:
		write(w, cmp.Or(fault.Status, http.StatusOK), fault.ContentType, []byte(fault.Body))
	case FaultNullToken:
		writeJSON(w, http.StatusOK, json.RawMessage(nullToken))
	case FaultRedirect:
		w.Header().Set("Location", fault.Location)
		write(w, cmp.Or(fault.Status, http.StatusFound), "", nil)
	case FaultClose:
		panic(http.ErrAbortHandler)
	case FaultReset:
		reset(w)
	default:
		return false
	}

	return true
}

func writeStatusFault(w http.ResponseWriter, fault Fault) {
	retryAfter, requestID := fault.RetryAfter, fault.RequestID
	if fault.RetryAfterDate != 0 {
		retryAfter = time.Now().Add(fault.RetryAfterDate).UTC().Format(http.TimeFormat)
	}
	if fault.GBGError != (GBGError{}) {
		requestID = cmp.Or(requestID, rand.Text())
	}
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	if requestID != "" {
		w.Header().Set("X-Request-ID", requestID)
	}

	switch {
	case fault.GBGError != GBGError{}:
		writeJSON(w, fault.Status, gbgErrorResponse{Errors: []GBGError{fault.GBGError}})
	case fault.Error != "":
		writeJSON(w, fault.Status, oauthError{Code: fault.Error, Description: fault.ErrorDescription})
	default:
		page := fmt.Sprintf("<html><body><h1>%d %s</h1></body></html>\n", fault.Status, http.StatusText(fault.Status))
		write(w, fault.Status, "text/html; charset=utf-8", []byte(page))
	}
}

// reset resets the connection, or closes it if it is not a TCP connection.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn() // so that TLS does not send close_notify
	}
	if tcp, ok := conn.(interface{ SetLinger(seconds int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// modify returns a response with a token as the fault changes it.
func (f Fault) modify(response tokenResponse) tokenResponse {
	switch f.Kind {
	case FaultExpiresIn:
		response.ExpiresIn = json.RawMessage(f.ExpiresIn)
	case FaultScope:
		response.Scope = f.Scope
	default:
	}

	return response
}

// writeResponse writes a response, which must be a JSON object, truncated or padded
// if the fault does that.
func (f Fault) writeResponse(w http.ResponseWriter, status int, response any) {
	body := encodeJSON(response)
	switch f.Kind {
	case FaultTruncate:
		// The server closes the connection because the body is too short.
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		body = body[:len(body)/2]
	case FaultOversize:
		body = pad(body, cmp.Or(f.Size, defaultSize))
	default:
	}
	write(w, status, "application/json", body)
}

// pad adds a member to an encoded JSON object to make it size bytes long.
func pad(object []byte, size int) []byte {
	const before, after = `,"padding":"`, `"}` + "\n"

	object = bytes.TrimSuffix(bytes.TrimSpace(object), []byte("}"))
	padding := bytes.Repeat([]byte("x"), max(0, size-len(object)-len(before)-len(after)))

	return slices.Concat(object, []byte(before), padding, []byte(after))
}
