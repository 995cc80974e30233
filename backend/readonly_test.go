package backend_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"

	"gbg.example/vault-plugin-secrets-gbg/backend"
)

func TestIsReadOnly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"none":                {nil, false},
		"the value":           {logical.ErrReadOnly, true},
		"wrapped":             {fmt.Errorf("connection %q: %w", "default", logical.ErrReadOnly), true},
		"joined":              {errors.Join(errors.New("no answer"), logical.ErrReadOnly), true},
		"its text":            {errors.New(logical.ErrReadOnly.Error()), true},
		"its text, explained": {errors.New(`1 error occurred: "cannot write to readonly storage"`), true},
		"another":             {errors.New("the disk is full"), false},
	} {
		assert.Equal(t, c.want, backend.IsReadOnly(c.err), name)
	}
}
