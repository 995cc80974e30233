package gbgauth

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeNameServer is a resolver that responds after a delay.
type fakeNameServer struct {
	delay   time.Duration
	err     error
	lookups int
}

func (s *fakeNameServer) resolve(ctx context.Context, host string) ([]string, error) {
	s.lookups++
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.err != nil {
		return nil, s.err
	}
	return []string{host + " found"}, nil
}

// A lookup that takes longer than a request, as when the first name server does not
// respond, serves the next request.
func TestLookupOutlivesRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeNameServer{delay: 5100 * time.Millisecond}
		r := newResolver(server.resolve)
		request := func() ([]string, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			return r.resolve(ctx, "gbg.example")
		}
		_, err := request()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		for _, pause := range []time.Duration{0, time.Second} { // before and after the lookup ends
			time.Sleep(pause)
			addresses, err := request()
			require.NoError(t, err)
			require.Equal(t, []string{"gbg.example found"}, addresses)
		}
		require.Equal(t, 1, server.lookups)

		time.Sleep(lookupTTL)
		_, err = request()
		require.ErrorIs(t, err, context.DeadlineExceeded, "the addresses have expired")
		time.Sleep(lookupTimeout) // until the last lookup has ended
	})
}

// A failed lookup is not reused, and a lookup has a timeout.
func TestLookupError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeNameServer{err: errors.New("no such host")}
		r := newResolver(server.resolve)
		for range 2 {
			_, err := r.resolve(t.Context(), "gbg.example")
			require.Equal(t, server.err, err)
		}
		require.Equal(t, 2, server.lookups)

		server.delay = time.Hour
		_, err := r.resolve(t.Context(), "gbg.example")
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}
