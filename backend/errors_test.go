package backend

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

func TestClientErrorText(t *testing.T) {
	t.Parallel()
	refused := &gbgauth.Error{Kind: gbgauth.RefusedClient, Code: "invalid_client", Status: 401, URL: "https://gbg.test/token"}
	silent := &gbgauth.Error{Kind: gbgauth.ServerError, Status: 503, URL: "https://gbg.test/token"}
	for _, tc := range []struct {
		err  *ClientError
		want string
	}{
		{&ClientError{ClientID: "id-a", Step: StepToken, Cause: refused}, `connection "": GBG refused client "id-a": ` + refused.Error()},
		{&ClientError{ClientID: "id-a", Step: StepToken, Cause: silent}, `connection "": no token for client "id-a": ` + silent.Error()},
		{&ClientError{ClientID: "id-a", Step: StepIDP, Cause: refused}, `connection "": the identity provider refused client "id-a": ` + refused.Error()},
		{&ClientError{ClientID: "id-a", Step: StepIDP, Cause: silent}, `connection "": no token for client "id-a" from the identity provider: ` + silent.Error()},
		{&ClientError{Step: StepOwnExchange, Cause: refused}, `connection "": GBG refused to exchange the id_token: ` + refused.Error()},
		{&ClientError{Step: StepOwnExchange, Cause: silent}, `connection "": no token from GBG in exchange for the id_token: ` + silent.Error()},
	} {
		assert.EqualError(t, tc.err, tc.want)
	}
}

func TestClientRefusal(t *testing.T) {
	t.Parallel()
	refused := clientError(gbgauth.Error{Kind: gbgauth.RefusedClient})
	assert.Same(t, refused, clientRefusal(refused))
	assert.Same(t, refused, clientRefusal(&FailingError{Cause: refused}))
	assert.Nil(t, clientRefusal(clientError(gbgauth.Error{Kind: gbgauth.ServerError})))
	assert.Nil(t, clientRefusal(errors.New("the disk is full")))
	assert.Nil(t, clientRefusal(nil))

	silent := clientError(gbgauth.Error{Kind: gbgauth.ServerError})
	assert.Equal(t, &PairError{Active: refused, Standby: silent}, pairError(refused, silent))
	assert.Equal(t, refused, pairError(refused, errors.New("the disk is full")), "GBG said nothing of the standby")
}

func TestShortTokenErrorText(t *testing.T) {
	t.Parallel()
	err := &ShortTokenError{Connection: "team-a", ClientID: "id-a", Lifetime: time.Minute, Left: 10 * time.Second, MinTTL: 30 * time.Second}
	assert.EqualError(t, err, `connection "team-a": a new token for client "id-a" was ready only 50s after it was asked for: it is valid for another 10s, less than min_ttl (30s)`)
	err.MinTTL, err.Left = 0, -time.Second
	assert.EqualError(t, err, `connection "team-a": a new token for client "id-a" was not ready until 1m1s after it was asked for, and had expired by then (lifetime 1m0s)`)
}
