package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// The ids of the page's organization and users.
const organizationID, apiUserA, apiUserB = "organization", "api-user-a", "api-user-b"

// Somebody who follows docs/password-grant.md gets what it promises.
func TestPasswordGrantPageAsWritten(t *testing.T) {
	t.Parallel()
	g := newGBG(t, time.Hour)
	someone, _, m := newReaderWithMount(t, newProxy(t, map[string]http.Handler{"api.auth.gbgplc.com": g.Simulator}))
	password := func(user string) string {
		password, err := g.SetPassword(user, "")
		require.NoError(t, err)
		return password + "\n"
	}
	client, err := g.CreateClient(gbgsim.NewClient{ID: organizationID, Roles: []string{gbgsim.RoleGoAPIAccess}})
	require.NoError(t, err)
	for _, user := range []string{apiUserA, apiUserB} {
		_, err := g.CreateUser(user)
		require.NoError(t, err)
	}
	someone.write("organization.secret", client.Secret+"\n")
	someone.write("a.password", password(apiUserA))
	someone.write("b.password", password(apiUserB))

	output := someone.follow("../docs/password-grant.md", map[string]func(){
		"Rotate a password": func() { someone.write("new.password", password(apiUserB)) },
		"Renew the organization's secret": func() {
			secret, err := g.Regenerate(organizationID)
			require.NoError(t, err)
			someone.write("organization.secret", secret+"\n")
		},
	})
	assert.Regexp(t, `username +`+apiUserA, output["Configure"])
	assert.Regexp(t, `client_id +`+organizationID, output["Configure"])
	assert.Regexp(t, `active_username +`+apiUserB, output["Rotate a password"])
	assert.Equal(t, apiUserB, m.read("creds/users").Data["username"])
}
