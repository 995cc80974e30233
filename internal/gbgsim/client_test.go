package gbgsim_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

func TestCreateClient(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})

	client, err := simulator.CreateClient(gbgsim.NewClient{
		ID:         "client-a",
		Name:       "Payments",
		Department: "Fraud",
		Roles:      []string{"Z", gbgsim.RoleGoAPIAccess, "Z"},
	})

	require.NoError(t, err)
	require.True(t, strings.HasPrefix(client.Secret, gbgsim.SecretPrefix), client.Secret)
	require.Equal(t, gbgsim.Client{
		ID:         "client-a",
		Secret:     client.Secret,
		Name:       "Payments",
		Department: "Fraud",
		Roles:      []string{gbgsim.RoleGoAPIAccess, "Z"},
	}, client)
}

func TestCreateClientWithDefaults(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})

	first, err := simulator.CreateClient(gbgsim.NewClient{})
	require.NoError(t, err)
	second, err := simulator.CreateClient(gbgsim.NewClient{})
	require.NoError(t, err)

	require.NotEqual(t, first.ID, second.ID)
	require.NotEqual(t, first.Secret, second.Secret)
	require.Equal(t, first.ID, first.Name)
	require.Equal(t, []string{}, first.Roles)
}

func TestCreateClientRefuses(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		request gbgsim.NewClient
		want    string
	}{
		"a taken id":            {gbgsim.NewClient{ID: "client-a"}, `client id is taken: "client-a"`},
		"a control character":   {gbgsim.NewClient{ID: "a\n"}, `client id "a\n" is not printable ASCII`},
		"another alphabet":      {gbgsim.NewClient{ID: "ä"}, `client id "ä" is not printable ASCII`},
		"a long id":             {gbgsim.NewClient{ID: strings.Repeat("a", 257)}, "257 bytes long, at most 256"},
		"a role without a name": {gbgsim.NewClient{Roles: []string{""}}, "a role has no name"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			simulator := gbgsim.New(gbgsim.Options{})
			createClient(t, simulator, "client-a")

			_, err := simulator.CreateClient(test.request)

			require.ErrorContains(t, err, test.want)
			require.Len(t, simulator.Clients(), 1)
		})
	}
}

func TestClientsAreSortedAndWithoutSecrets(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	createClient(t, simulator, "client-b")
	createClient(t, simulator, "client-a")

	clients := simulator.Clients()
	clients[0].Roles[0] = "changed by the caller"

	roles := []string{gbgsim.RoleGoAPIAccess}
	require.Equal(t, []gbgsim.Client{
		{ID: "client-a", Name: "client-a", Department: "Fraud", Roles: roles},
		{ID: "client-b", Name: "client-b", Department: "Fraud", Roles: roles},
	}, simulator.Clients())
}

func TestRegenerateInvalidatesOldSecretOnly(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client := createClient(t, simulator, "client-a")
	before := getToken(t, simulator, client.ID, client.Secret)

	secret, err := simulator.Regenerate(client.ID)

	require.NoError(t, err)
	require.True(t, strings.HasPrefix(secret, gbgsim.SecretPrefix), secret)
	old := do(t, simulator, tokenRequest(t, validForm(client.ID, client.Secret)))
	require.Equal(t, http.StatusUnauthorized, old.status)
	after := getToken(t, simulator, client.ID, secret)
	for _, accessToken := range []string{before.AccessToken, after.AccessToken} {
		require.Equal(t, http.StatusOK, callAPI(t, simulator, "Bearer "+accessToken).status)
	}
}

func TestSetRolesAppliesToIssuedTokens(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client, err := simulator.CreateClient(gbgsim.NewClient{ID: "client-a"})
	require.NoError(t, err)
	header := "Bearer " + getToken(t, simulator, client.ID, client.Secret).AccessToken
	require.Equal(t, http.StatusForbidden, callAPI(t, simulator, header).status)

	require.NoError(t, simulator.SetRoles(client.ID, gbgsim.RoleGoAPIAccess))
	require.Equal(t, http.StatusOK, callAPI(t, simulator, header).status)

	require.NoError(t, simulator.SetRoles(client.ID))
	require.Equal(t, http.StatusForbidden, callAPI(t, simulator, header).status)

	require.EqualError(t, simulator.SetRoles(client.ID, ""), "a role has no name")
}

func TestDeleteClientInvalidatesSecret(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})
	client := createClient(t, simulator, "client-a")

	require.NoError(t, simulator.DeleteClient(client.ID))

	require.Empty(t, simulator.Clients())
	got := do(t, simulator, tokenRequest(t, validForm(client.ID, client.Secret)))
	require.Equal(t, http.StatusUnauthorized, got.status)
}

func TestUnknownClients(t *testing.T) {
	t.Parallel()
	simulator := gbgsim.New(gbgsim.Options{})

	_, err := simulator.Regenerate("nobody")
	require.ErrorIs(t, err, gbgsim.ErrUnknownClient)
	require.EqualError(t, err, `no such client: "nobody"`)
	require.ErrorIs(t, simulator.SetRoles("nobody"), gbgsim.ErrUnknownClient)
	require.ErrorIs(t, simulator.DeleteClient("nobody"), gbgsim.ErrUnknownClient)
}
