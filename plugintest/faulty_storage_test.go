package plugintest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// storage is Vault's in-memory storage with its writes counted, and with
// failures to order.
type storage struct {
	logical.InmemStorage

	puts  atomic.Int64
	delay atomic.Int64 // of a write; a time.Duration
	// written are the keys of these Puts.
	mu      sync.Mutex
	written []string
	// onPut and onGet, if set, do a Put or Get in the storage's place.
	onPut atomic.Pointer[func(context.Context, *logical.StorageEntry) error]
	onGet atomic.Pointer[func(context.Context, string) (*logical.StorageEntry, error)]
	// deleteErr, if set, is what every Delete fails with.
	deleteErr atomic.Pointer[error]
	// trap, if set, sees every call first.
	trap atomic.Pointer[trap]
}

func (s *storage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	s.puts.Add(1)
	time.Sleep(time.Duration(s.delay.Load()))
	s.mu.Lock()
	s.written = append(s.written, entry.Key)
	s.mu.Unlock()
	return s.trap.Load().call(true, func() error {
		if f := s.onPut.Load(); f != nil {
			return (*f)(ctx, entry)
		}
		return s.InmemStorage.Put(ctx, entry)
	})
}

func (s *storage) Get(ctx context.Context, key string) (entry *logical.StorageEntry, err error) {
	err = s.trap.Load().call(false, func() (err error) {
		if f := s.onGet.Load(); f != nil {
			entry, err = (*f)(ctx, key)
		} else {
			entry, err = s.InmemStorage.Get(ctx, key)
		}
		return err
	})
	return entry, err
}

func (s *storage) Delete(ctx context.Context, key string) error {
	return s.trap.Load().call(true, func() error {
		if err := s.deleteErr.Load(); err != nil {
			return *err
		}
		return s.InmemStorage.Delete(ctx, key)
	})
}

func (s *storage) List(ctx context.Context, prefix string) (keys []string, err error) {
	err = s.trap.Load().call(false, func() (err error) {
		keys, err = s.InmemStorage.List(ctx, prefix)
		return err
	})
	return keys, err
}

// slow makes every write take so long from now on.
func (s *storage) slow(delay time.Duration) { s.delay.Store(int64(delay)) }

// refuse makes every write whose key has the prefix fail from now on.
func (s *storage) refuse(prefix string, err error) {
	s.failPut(func(ctx context.Context, entry *logical.StorageEntry) error {
		if strings.HasPrefix(entry.Key, prefix) {
			return err
		}
		return s.InmemStorage.Put(ctx, entry)
	})
}

// takeWrites ends the failures of writes.
func (s *storage) takeWrites() { s.onPut.Store(nil) }

// writesOf returns how many times a key was written.
func (s *storage) writesOf(key string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, written := range s.written {
		if written == key {
			n++
		}
	}
	return n
}

// failPut makes every Put from now on do f instead.
func (s *storage) failPut(f func(context.Context, *logical.StorageEntry) error) { s.onPut.Store(&f) }

// failDelete makes every Delete from now on fail.
func (s *storage) failDelete(err error) { s.deleteErr.Store(&err) }

// failGet makes every Get from now on fail.
func (s *storage) failGet(err error) {
	f := func(context.Context, string) (*logical.StorageEntry, error) { return nil, err }
	s.onGet.Store(&f)
}

// heal ends all failures.
func (s *storage) heal() {
	s.onPut.Store(nil)
	s.onGet.Store(nil)
	s.deleteErr.Store(nil)
	s.trap.Store(nil)
}

// writes gives the keys that f writes, in order.
func (s *storage) writes(f func()) []string {
	s.mu.Lock()
	before := len(s.written)
	s.mu.Unlock()
	f()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.written[before:])
}

// content is everything stored, by key.
func (s *storage) content(t *testing.T) map[string]logical.StorageEntry {
	t.Helper()
	keys, err := logical.CollectKeys(t.Context(), s)
	require.NoError(t, err)
	content := map[string]logical.StorageEntry{}
	for _, key := range keys {
		entry, err := s.InmemStorage.Get(t.Context(), key)
		require.NoError(t, err)
		content[key] = *entry
	}
	return content
}

// keys are the keys of everything stored, in order.
func (s *storage) keys(t *testing.T) []string {
	t.Helper()
	return slices.Sorted(maps.Keys(s.content(t)))
}
