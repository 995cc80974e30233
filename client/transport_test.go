package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/client"
)

// call is a request that GBG's API received.
type call struct{ host, path, authorization, body string }

// gbgAPI is GBG's API, which refuses tokens.
type gbgAPI struct {
	mu      sync.Mutex
	calls   []call
	refuses map[string]bool // by token
	always  bool            // refuses every token
}

func (a *gbgAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	authorization := r.Header.Get("Authorization")
	a.mu.Lock()
	a.calls = append(a.calls, call{r.Host, r.URL.Path, authorization, string(body)})
	refused := authorization == "" || a.always || a.refuses[strings.TrimPrefix(authorization, "Bearer ")]
	a.mu.Unlock()
	switch {
	case refused:
		http.Error(w, "token refused", http.StatusUnauthorized)
	case r.URL.Query().Has("to"):
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusTemporaryRedirect)
	}
}

// apiURL is where GBG's API is.
const apiURL = "http://" + apiAddress

// serveAPI starts GBG's API, and returns a client that calls it with the source's tokens.
func (w *world) serveAPI(api *gbgAPI) *http.Client {
	w.serve(apiAddress, api)
	return &http.Client{Transport: &client.Transport{Source: w.source, Base: w.httpClient().Transport}}
}

// status makes a request and returns its status.
func (w *world) status(gbg *http.Client, req *http.Request) int {
	w.t.Helper()
	resp, err := gbg.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(w.t, err)
	return resp.StatusCode
}

func newRequest(t *testing.T, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	require.NoError(t, err)
	return req
}

const (
	firstToken  = "Bearer " + tokenPrefix + "1"
	secondToken = "Bearer " + tokenPrefix + "2"
)

func TestTransportAddsTheToken(t *testing.T) {
	inBubble(t, func(w *world) {
		api := &gbgAPI{}
		gbg := w.serveAPI(api)
		req := newRequest(w.t, apiURL+"/check", strings.NewReader("name"))
		for range 3 {
			req.Body, _ = req.GetBody()
			assert.Equal(w.t, http.StatusOK, w.status(gbg, req))
		}
		one := call{apiAddress, "/check", firstToken, "name"}
		assert.Equal(w.t, []call{one, one, one}, api.calls)
		assert.Empty(w.t, req.Header, "the caller's request is not changed")
		assert.Equal(w.t, 1, w.count())
	})
}

func TestTransportRepeatsARefusedRequestOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		api := &gbgAPI{refuses: map[string]bool{tokenPrefix + "1": true}}
		gbg := w.serveAPI(api)
		assert.Equal(w.t, http.StatusOK, w.status(gbg, newRequest(w.t, apiURL+"/check", strings.NewReader("name"))))
		assert.Equal(w.t, []call{{apiAddress, "/check", firstToken, "name"}, {apiAddress, "/check", secondToken, "name"}}, api.calls)
		assert.Equal(w.t, http.StatusOK, w.status(gbg, newRequest(w.t, apiURL+"/check", nil)))
		assert.Len(w.t, api.calls, 3, "and goes on with the newer token")
		assert.Equal(w.t, 2, w.count())
		assert.True(w.t, w.received()[1].query.Has("newer_than"))
	})
}

func TestTransportReturnsTheSecondAnswer(t *testing.T) {
	inBubble(t, func(w *world) {
		api := &gbgAPI{always: true}
		gbg := w.serveAPI(api)
		resp, err := gbg.Do(newRequest(w.t, apiURL, http.NoBody))
		require.NoError(w.t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(w.t, err)
		assert.Equal(w.t, http.StatusUnauthorized, resp.StatusCode)
		assert.Equal(w.t, "token refused\n", string(body))
		assert.Len(w.t, api.calls, 2)

		for range 10 {
			assert.Equal(w.t, http.StatusUnauthorized, w.status(gbg, newRequest(w.t, apiURL, nil)))
		}
		assert.Len(w.t, api.calls, 12, "without a newer token, a request is not repeated")
		assert.Equal(w.t, 2, w.count())
	})
}

func TestTransportDoesNotRepeatABodyThatIsGone(t *testing.T) {
	inBubble(t, func(w *world) {
		api := &gbgAPI{refuses: map[string]bool{tokenPrefix + "1": true}}
		gbg := w.serveAPI(api)
		assert.Equal(w.t, http.StatusUnauthorized, w.status(gbg, newRequest(w.t, apiURL, io.LimitReader(strings.NewReader("stream"), 6))))
		broken := newRequest(w.t, apiURL, strings.NewReader("name"))
		broken.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
		assert.Equal(w.t, http.StatusOK, w.status(gbg, broken), "the next request has the newer token")
		assert.Len(w.t, api.calls, 2)

		api.refuses[tokenPrefix+"2"] = true
		time.Sleep(time.Minute)
		broken.Body = io.NopCloser(strings.NewReader("name"))
		assert.Equal(w.t, http.StatusUnauthorized, w.status(gbg, broken))
		assert.Len(w.t, api.calls, 3)
	})
}

func TestTransportKeepsTheTokenFromOtherHosts(t *testing.T) {
	inBubble(t, func(w *world) {
		api, other := &gbgAPI{}, &gbgAPI{}
		gbg := w.serveAPI(api)
		const otherAddress = "127.0.0.1:9999"
		w.serve(otherAddress, other)

		assert.Equal(w.t, http.StatusOK, w.status(gbg, newRequest(w.t, apiURL+"/a?to=/b", strings.NewReader("name"))))
		assert.Equal(w.t, []call{{apiAddress, "/a", firstToken, "name"}, {apiAddress, "/b", firstToken, "name"}}, api.calls)

		assert.Equal(w.t, http.StatusUnauthorized, w.status(gbg, newRequest(w.t, apiURL+"/a?to=http://"+otherAddress+"/c", nil)))
		assert.Equal(w.t, []call{{otherAddress, "/c", "", ""}}, other.calls)
		assert.Equal(w.t, 1, w.count(), "no newer token for a host that has seen none")
	})
}

// A redirect that leads to another host and back has lost the token.
func TestTransportKeepsTheTokenAfterAnotherHostSentItBack(t *testing.T) {
	inBubble(t, func(w *world) {
		api := &gbgAPI{}
		gbg := w.serveAPI(api)
		const otherAddress = "127.0.0.1:9999"
		w.serve(otherAddress, http.RedirectHandler(apiURL+"/back", http.StatusTemporaryRedirect))
		assert.Equal(w.t, http.StatusUnauthorized, w.status(gbg, newRequest(w.t, apiURL+"/a?to=http://"+otherAddress, nil)))
		assert.Equal(w.t, call{apiAddress, "/back", "", ""}, api.calls[1])
	})
}

func TestTransportWithoutAToken(t *testing.T) {
	inBubble(t, func(w *world) {
		api := &gbgAPI{}
		gbg := w.serveAPI(api)
		w.refuse(http.StatusServiceUnavailable)
		body := &closedBody{Reader: strings.NewReader("name")}
		_, err := gbg.Do(newRequest(w.t, apiURL, body))
		assert.ErrorContains(w.t, err, "client: reading gbg/creds from Vault: ")
		assert.True(w.t, body.closed)
		assert.Empty(w.t, api.calls)

		w.onRequest(nil)
		w.delay = time.Hour
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
		defer cancel()
		_, err = gbg.Do(newRequest(w.t, apiURL, nil).WithContext(ctx))
		assert.ErrorIs(w.t, err, context.DeadlineExceeded)
		time.Sleep(time.Hour) // until the fake Vault has answered
	})
}

type closedBody struct {
	io.Reader

	closed bool
}

func (b *closedBody) Close() error {
	b.closed = true
	return nil
}

func TestTransportWithoutASource(t *testing.T) {
	_, err := (&http.Client{Transport: &client.Transport{}}).Do(newRequest(t, apiURL, nil))
	assert.ErrorContains(t, err, "client: the Transport has no Source")
}
