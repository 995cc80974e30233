package backend

import (
	"errors"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// A reader that saw the state before a request failed sends none after it.
func TestFetchAfterAFailure(t *testing.T) {
	t.Parallel()
	e := New(Options{Storage: &logical.InmemStorage{}})
	defer e.Close()
	before := &state{conn: &connection.Connection{}, revision: 1, counters: &counters{}}
	failed := *before
	failed.backoff = before.backoff.next(errors.New("no answer"), testNow, e.delay)
	e.states.put("team-a", &failed)
	assert.ErrorIs(t, e.fetch("team-a", before), errSuperseded)
}
