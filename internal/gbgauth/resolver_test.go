package gbgauth

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeNameServer is a resolver that takes its time.
type fakeNameServer struct {
	takes   time.Duration
	err     error
	lookups int
}

func (s *fakeNameServer) resolve(ctx context.Context, host string) ([]string, error) {
	s.lookups++
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.err != nil {
		return nil, s.err
	}
	return []string{host + " found"}, nil
}

// A lookup that takes longer than one try, because the first name server is dead, is
// there for the next try.
func TestLookupOutlivesRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeNameServer{takes: 5100 * time.Millisecond}
		l := newResolver(server.resolve)
		try := func() ([]string, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			return l.resolve(ctx, "gbg.example")
		}
		_, err := try()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		for _, pause := range []time.Duration{0, time.Second} { // while it is under way, and after it
			time.Sleep(pause)
			addresses, err := try()
			require.NoError(t, err)
			require.Equal(t, []string{"gbg.example found"}, addresses)
		}
		require.Equal(t, 1, server.lookups)

		time.Sleep(lookupTTL)
		_, err = try()
		require.ErrorIs(t, err, context.DeadlineExceeded, "what was found before is too old")
		time.Sleep(lookupTimeout) // until no lookup is under way
	})
}

// A lookup that fails is not kept, and one that hangs ends.
func TestLookupError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeNameServer{err: errors.New("no such host")}
		l := newResolver(server.resolve)
		for range 2 {
			_, err := l.resolve(t.Context(), "gbg.example")
			require.Equal(t, server.err, err)
		}
		require.Equal(t, 2, server.lookups)

		server.takes = time.Hour
		_, err := l.resolve(t.Context(), "gbg.example")
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}
