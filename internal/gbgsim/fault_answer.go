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

// nullToken is the example of an answer in GBG's documentation.
const nullToken = `{"access_token":null,"expires_in":null,"token_type":null}`

// wait waits for as long as the fault says, or until the request ends. It
// returns false if the fault was cleared meanwhile. No lock may be held.
func (f Fault) wait(w http.ResponseWriter, r *http.Request, cleared <-chan struct{}) bool {
	if f.Delay == 0 && f.Kind != FaultHang {
		return true
	}

	// The server does not notice that a client has gone before all of the body
	// is read.
	_, _ = io.Copy(io.Discard, r.Body)
	// The timeouts of Serve are for answers that come at once: the one for
	// reading would end the request. A writer that has none needs nothing.
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(time.Time{})
	_ = controller.SetWriteDeadline(time.Time{})

	var over <-chan time.Time // nil, for ever, for a hang
	if f.Kind != FaultHang {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
		return true
	case <-r.Context().Done():
		return true
	case <-cleared:
		return false
	}
}

// writeFault answers in the token endpoint's place if the fault is of such a
// kind, or else does nothing and returns false. It panics with
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
		conn = secure.NetConn() // so that TLS does not say good-bye
	}
	if tcp, ok := conn.(interface{ SetLinger(seconds int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// modify returns the answer with a token as the fault changes it.
func (f Fault) modify(answer tokenResponse) tokenResponse {
	switch f.Kind {
	case FaultExpiresIn:
		answer.ExpiresIn = json.RawMessage(f.ExpiresIn)
	case FaultScope:
		answer.Scope = f.Scope
	default:
	}

	return answer
}

// writeResponse sends an answer, which must be a JSON object, as the fault damages it.
func (f Fault) writeResponse(w http.ResponseWriter, status int, answer any) {
	body := encodeJSON(answer)
	switch f.Kind {
	case FaultTruncate:
		// The server closes the connection when it sees what is missing.
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		body = body[:len(body)/2]
	case FaultOversize:
		body = pad(body, cmp.Or(f.Size, defaultSize))
	default:
	}
	write(w, status, "application/json", body)
}

// pad makes an encoded JSON object size bytes long with another member.
func pad(object []byte, size int) []byte {
	const before, after = `,"padding":"`, `"}` + "\n"

	object = bytes.TrimSuffix(bytes.TrimSpace(object), []byte("}"))
	padding := bytes.Repeat([]byte("x"), max(0, size-len(object)-len(before)-len(after)))

	return slices.Concat(object, []byte(before), padding, []byte(after))
}
