package plugintest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/errutil"
	"github.com/hashicorp/vault/sdk/helper/testhelpers/schema"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// mount is one backend, driven as Vault drives it.
type mount struct {
	world   *world
	backend logical.Backend
}

// answer is what a request comes back with.
type answer struct {
	resp *logical.Response
	err  error
}

// send makes a request the way Vault does, from any goroutine.
func (m *mount) send(ctx context.Context, op logical.Operation, path string, data fields) answer {
	if data == nil {
		data = fields{}
	}
	req := &logical.Request{
		Operation:  op,
		Path:       path,
		MountPoint: "gbg/",
		Data:       maps.Clone(data),
		Storage:    m.world.storage,
	}
	a := m.handle(ctx, req)
	m.world.heard.note(a)
	return a
}

// errInternal is all that Vault shows of an existence check's error, unless that is
// about what the caller wrote.
var errInternal = errors.New("internal error")

func (m *mount) handle(ctx context.Context, req *logical.Request) answer {
	if req.Operation == logical.UpdateOperation {
		checked, exists, err := m.backend.HandleExistenceCheck(ctx, req)
		var wrong errutil.UserError
		switch {
		case errors.As(err, &wrong):
			return answer{err: err}
		case errors.Is(err, logical.ErrUnsupportedPath): // for the request to say
		case err != nil:
			return answer{err: errInternal}
		case checked && !exists:
			req.Operation = logical.CreateOperation
		}
	}
	resp, err := m.backend.HandleRequest(ctx, req)
	return answer{resp, err}
}

// try is send for the test's own goroutine: a success must fit the schema.
func (m *mount) try(op logical.Operation, path string, data fields) answer {
	m.world.t.Helper()
	a := m.send(m.world.t.Context(), op, path, data)
	m.mustFit(op, path, a)
	return a
}

// tryRetried is try for a request that GBG fails; it returns the pauses between the tries.
func (m *mount) tryRetried(op logical.Operation, path string, data fields) (a answer, pauses []time.Duration) {
	m.world.t.Helper()
	pauses = m.world.retries(func() { a = m.try(op, path, data) })
	return a, pauses
}

// tryTimed is try with the time that it took.
func (m *mount) tryTimed(op logical.Operation, path string, data fields) (a answer, took time.Duration) {
	m.world.t.Helper()
	began := time.Now()
	a = m.try(op, path, data)
	return a, time.Since(began)
}

// begin makes a request in the background.
func (m *mount) begin(op logical.Operation, path string, data fields) <-chan answer {
	return later(func() answer { return m.send(m.world.t.Context(), op, path, data) })
}

// tryCreds reads the connection "default", which must wait for nothing, but before a
// refused client is tried once more.
func (m *mount) tryCreds(data ...fields) answer {
	m.world.t.Helper()
	var given fields
	for _, more := range data {
		given = more
	}
	a, took := m.tryTimed(logical.ReadOperation, "creds", given)
	require.Contains(m.world.t, []time.Duration{0, refusedPause}, took)
	return a
}

// creds is tryCreds for a read that must succeed.
func (m *mount) creds(data ...fields) *logical.Response {
	m.world.t.Helper()
	return m.ok(m.tryCreds(data...))
}

// mustFit checks that an answer fits the schema, if it is a success.
func (m *mount) mustFit(op logical.Operation, path string, a answer) {
	m.world.t.Helper()
	if a.err == nil && a.resp != nil && !a.resp.IsError() {
		m.mustFitSchema(op, path, a.resp)
	}
}

func (m *mount) mustFitSchema(op logical.Operation, path string, resp *logical.Response) {
	t := m.world.t
	t.Helper()
	route := m.backend.(interface{ Route(string) *framework.Path }).Route(path)
	require.NotNil(t, route, path)
	declared := schema.GetResponseSchema(t, route, op)
	schema.ValidateResponse(t, declared, resp, true)
	if declared.Fields == nil {
		require.Empty(t, resp.Data, "an answer without a declared field holds data")
	}
}

// read reads a path that must be there.
func (m *mount) read(path string) fields {
	m.world.t.Helper()
	resp := m.ok(m.try(logical.ReadOperation, path, nil))
	require.NotNil(m.world.t, resp, "%s is 404", path)
	return resp.Data
}

// write writes what must be accepted, and gives the warnings.
func (m *mount) write(path string, data fields) (warnings []string) {
	m.world.t.Helper()
	if resp := m.ok(m.try(logical.UpdateOperation, path, data)); resp != nil {
		return resp.Warnings
	}
	return nil
}

// rotate rotates the connection "default", which must succeed.
func (m *mount) rotate(data fields) *logical.Response {
	m.world.t.Helper()
	resp := m.ok(m.try(logical.UpdateOperation, "rotate", data))
	require.NotNil(m.world.t, resp)
	return resp
}

// rotateToStandby rotates the connection "default" to its standby by name, which may
// be done again at once.
func (m *mount) rotateToStandby() *logical.Response {
	m.world.t.Helper()
	return m.rotate(fields{"client_id": m.read("status")["standby_client_id"]})
}

// ok gives the response of a request that must have succeeded.
func (m *mount) ok(a answer) *logical.Response {
	m.world.t.Helper()
	require.NoError(m.world.t, a.err)
	if a.resp != nil {
		require.NoError(m.world.t, a.resp.Error())
	}
	return a.resp
}

// refused gives the message of a request that must be a 400: a plain error
// response and no error.
func (m *mount) refused(a answer) string {
	m.world.t.Helper()
	require.NoError(m.world.t, a.err)
	require.NotNil(m.world.t, a.resp, "succeeded without an answer")
	require.True(m.world.t, a.resp.IsError(), "succeeded: %v", a.resp.Data)
	return a.resp.Error().Error()
}

// coded gives the message of a request that must fail with a status: the coded
// error is the outermost one, for Vault makes a wrapped one a 500, and a 503
// says when to come back.
func (m *mount) coded(status int, a answer) string {
	t := m.world.t
	t.Helper()
	require.Error(t, a.err)
	outermost, ok := a.err.(logical.HTTPCodedError) //nolint:errorlint // wrapped is wrong
	require.True(t, ok, "not a coded error: %v", a.err)
	require.Equal(t, status, outermost.Code(), a.err)
	if status == http.StatusServiceUnavailable {
		require.NotNil(t, a.resp)
		require.False(t, a.resp.IsError(), "a coded error and an error response at once are a 400")
		require.Len(t, a.resp.Headers["Retry-After"], 1)
		require.Regexp(t, "^[1-9][0-9]*$", a.resp.Headers["Retry-After"][0])
	} else {
		require.Nil(t, a.resp)
	}
	return a.err.Error()
}

// unavailable returns the message of a 503, and its Retry-After in seconds.
func (m *mount) unavailable(a answer) (text string, retryAfter int) {
	m.world.t.Helper()
	text = m.coded(http.StatusServiceUnavailable, a)
	retryAfter, err := strconv.Atoi(a.resp.Headers["Retry-After"][0])
	require.NoError(m.world.t, err)
	return text, retryAfter
}

// badGateway returns the message of a 502.
func (m *mount) badGateway(a answer) string {
	m.world.t.Helper()
	return m.coded(http.StatusBadGateway, a)
}

// moment parses a time of an answer.
func (m *mount) moment(text any) time.Time {
	m.world.t.Helper()
	at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(text))
	require.NoError(m.world.t, err)
	return at
}

// with gives a copy of some fields with more of them, or other ones.
func with(base, more fields) fields {
	all := maps.Clone(base)
	maps.Copy(all, more)
	return all
}

// without gives a copy without some of them.
func without(base fields, names ...string) fields {
	rest := maps.Clone(base)
	for _, name := range names {
		delete(rest, name)
	}
	return rest
}

// timestamp is a time as the answers write it.
func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// long is a text of so many characters.
func long(n int) string { return strings.Repeat("x", n) }

// secondsOf is a number of seconds in an answer.
func secondsOf(v any) time.Duration { return time.Duration(v.(int64)) * time.Second }

// roundedUp is a time in whole seconds that is no earlier.
func roundedUp(at time.Time) time.Time { return at.Add(time.Second - 1).Truncate(time.Second) }
