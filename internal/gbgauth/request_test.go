package gbgauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

// receivedRequest is a request as the endpoint received it.
type receivedRequest struct {
	method, uri string
	header      http.Header
	body        string
	err         error
}

// recordRequests returns a handler that sends each request to a channel and responds
// with a token.
func recordRequests(requests chan<- receivedRequest) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		requests <- receivedRequest{method: r.Method, uri: r.RequestURI, header: r.Header, body: string(body), err: err}
		respond(http.StatusOK, "application/json", tokenResponse)(w, r)
	}
}

// The caller decides about retries.
func TestRequestIsSentOnce(t *testing.T) {
	t.Parallel()

	for _, status := range []int{
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusServiceUnavailable,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			requests := make(chan receivedRequest, 10)
			keep := recordRequests(requests)
			fetchError(t, clientCredentials(serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(status)
				keep(w, r)
			})))
			require.Len(t, requests, 1)
		})
	}
}

func TestFetchConcurrently(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		respond(200, "application/json", `{"access_token":"token-of-`+r.FormValue("client_id")+`"}`)(w, r)
	})
	client := newClient(t, "")

	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			request := clientCredentials(url)
			request.ClientID = fmt.Sprintf("fake-%d", i)
			got, err := request.Fetch(t.Context(), client)
			if assert.NoError(t, err) {
				assert.Equal(t, fmt.Sprintf("token-of-fake-%d", i), got.AccessToken.Reveal())
			}
		})
	}
	all.Wait()
}

// A redirect would send the client secret to an address that is not configured.
func TestRedirect(t *testing.T) {
	t.Parallel()

	for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308} {
		for _, where := range []string{"another host", "the same host", "nowhere"} {
			t.Run(strconv.Itoa(status)+" to "+where, func(t *testing.T) {
				t.Parallel()
				var here, there atomic.Int32
				other := serve(t, func(w http.ResponseWriter, r *http.Request) {
					there.Add(1)
					respond(200, "application/json", tokenResponse)(w, r)
				})
				url := serve(t, func(w http.ResponseWriter, r *http.Request) {
					here.Add(1)
					switch where {
					case "another host":
						w.Header().Set("Location", other+"?leak="+fakeSecret)
					case "the same host":
						w.Header().Set("Location", "/elsewhere")
					}
					w.WriteHeader(status)
				})

				got := fetchError(t, clientCredentials(url))
				require.Equal(t, gbgauth.NotAToken, got.Kind)
				require.Equal(t, status, got.Status)
				require.Equal(t, "the endpoint answered with a redirect, which is never followed (HTTP "+
					strconv.Itoa(status)+" from "+url+")", got.Error())
				require.EqualValues(t, 1, here.Load())
				require.Zero(t, there.Load())
			})
		}
	}
}

func TestConnectionRefused(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	url := "http://" + listener.Addr().String() + tokenPath
	require.NoError(t, listener.Close())

	got := fetchError(t, clientCredentials(url))
	require.Equal(t, gbgauth.Unreachable, got.Kind)
	require.Zero(t, got.Status)
	require.Equal(t, "dial tcp "+listener.Addr().String()+": connect: connection refused ("+url+")", got.Error())
	require.ErrorIs(t, got, syscall.ECONNREFUSED)
	require.True(t, got.Temporary())
}

func TestConnectionClosed(t *testing.T) {
	t.Parallel()

	for name, breakOff := range map[string]func(*net.TCPConn) error{
		"closed": func(conn *net.TCPConn) error { return conn.Close() },
		"reset":  func(conn *net.TCPConn) error { return errors.Join(conn.SetLinger(0), conn.Close()) },
		"not HTTP": func(conn *net.TCPConn) error {
			_, err := conn.Write([]byte("SSH-2.0-fake\r\n"))

			return errors.Join(err, conn.Close())
		},
		"half a header": func(conn *net.TCPConn) error {
			_, err := conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Ty"))

			return errors.Join(err, conn.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				conn, _, err := http.NewResponseController(w).Hijack()
				if assert.NoError(t, err) {
					assert.NoError(t, breakOff(conn.(*net.TCPConn)))
				}
			})

			got := fetchError(t, clientCredentials(url))
			require.Equal(t, gbgauth.Unreachable, got.Kind)
			require.Zero(t, got.Status)
			require.NotEmpty(t, got.Description)
			require.EqualValues(t, 1, requests.Load(), "net/http does not retry the request")
		})
	}
}

func TestHeaderSize(t *testing.T) {
	t.Parallel()

	for _, http2 := range []bool{false, true} {
		t.Run("HTTP/2 "+strconv.FormatBool(http2), func(t *testing.T) {
			t.Parallel()
			var kib atomic.Int64
			server := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for i := range kib.Load() {
					w.Header().Set("X-Flood-"+strconv.FormatInt(i, 10), strings.Repeat("a", 1<<10))
				}
				respond(200, "application/json", tokenResponse)(w, r)
			}))
			server.EnableHTTP2 = http2
			server.StartTLS()
			client := newClient(t, certPEM(server.Certificate().Raw))

			kib.Store(60)
			_, err := clientCredentials(server.URL).Fetch(t.Context(), client)
			require.NoError(t, err)

			kib.Store(65)
			_, err = clientCredentials(server.URL).Fetch(t.Context(), client)
			got := asError(t, err)
			require.Equal(t, gbgauth.Unreachable, got.Kind)
			require.Zero(t, got.Status)
			require.Contains(t, got.Description, "header")
		})
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()

	// Each delays the response at another place until the test ends.
	for name, begin := range map[string]func(http.ResponseWriter) error{
		"before the header": func(http.ResponseWriter) error { return nil },
		"before the body": func(w http.ResponseWriter) error {
			return http.NewResponseController(w).Flush()
		},
		"within the body": func(w http.ResponseWriter) error {
			_, err := w.Write([]byte(tokenResponse[:10]))

			return errors.Join(err, http.NewResponseController(w).Flush())
		},
		"within a refusal": func(w http.ResponseWriter) error {
			w.WriteHeader(http.StatusUnauthorized)
			_, err := w.Write([]byte(`{"error":"invalid_client"`))

			return errors.Join(err, http.NewResponseController(w).Flush())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				_ = begin(w) // fails if the client has disconnected
				<-release
			})
			t.Cleanup(func() { close(release) })

			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := clientCredentials(url).Fetch(ctx, newClient(t, ""))
			got := asError(t, err)
			require.Equal(t, gbgauth.Unreachable, got.Kind)
			require.Equal(t, "no answer in the time allowed", got.Description)
			require.ErrorIs(t, got, context.DeadlineExceeded)
			require.True(t, got.Temporary())
		})
	}
}

func TestDeadlineAlreadyPassed(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	url := serve(t, func(http.ResponseWriter, *http.Request) { requests.Add(1) })
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()

	_, err := clientCredentials(url).Fetch(ctx, newClient(t, ""))
	got := asError(t, err)
	require.Equal(t, gbgauth.Unreachable, got.Kind)
	require.Equal(t, "no answer in the time allowed ("+url+")", got.Error())
	require.Zero(t, requests.Load())
}

func TestCancelReturnsContextCause(t *testing.T) {
	t.Parallel()

	for name, begin := range map[string]func(http.ResponseWriter) error{
		"before the header": func(http.ResponseWriter) error { return nil },
		"before the body": func(w http.ResponseWriter) error {
			return http.NewResponseController(w).Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arrived, release := make(chan struct{}), make(chan struct{})
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				_ = begin(w)
				close(arrived)
				<-release
			})
			t.Cleanup(func() { close(release) })

			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-arrived
				cancel()
			}()
			token, err := clientCredentials(url).Fetch(ctx, newClient(t, ""))
			require.Nil(t, token)
			require.Equal(t, context.Canceled, err)
			require.False(t, isError(err))
		})
	}

	t.Run("before the request", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := clientCredentials("http://127.0.0.1:1/").Fetch(ctx, newClient(t, ""))
		require.Equal(t, context.Canceled, err)
	})
}

func TestInvalidURL(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct{ url, want string }{
		"empty":          {"", `unsupported protocol scheme ""`},
		"another scheme": {"ftp://127.0.0.1/token", `unsupported protocol scheme "ftp"`},
		"no host":        {"https:///token", "no Host in request URL"},
		"a bad escape":   {"https://127.0.0.1/%zz", `invalid URL escape "%zz"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := fetchError(t, clientCredentials(c.url))
			require.Equal(t, gbgauth.Unreachable, got.Kind)
			require.Zero(t, got.Status)
			require.Contains(t, got.Error(), c.want)
			require.Equal(t, c.url, got.URL)
			var cause *url.Error
			require.ErrorAs(t, got, &cause)
		})
	}
}
