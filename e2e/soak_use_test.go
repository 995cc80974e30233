package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// soakPause is the mean of what a user waits between two rounds.
const soakPause = 250 * time.Millisecond

// soakConnection is a connection that one user configures, reads and rotates,
// and others read.
type soakConnection struct {
	name string
	// shared says that its readers share a token.
	shared bool
	// leased says that every reader gets a token of their own; own, that every
	// reader brings one.
	leased, own bool
	// ids are the pair's clients; the second is empty if there is none. active is
	// the one that the last acknowledged rotation made active.
	ids    [2]string
	active int
	// renew gives a client a new secret.
	renew func(id string) (string, error)
	// successes counts the rounds in which everything went well.
	successes atomic.Int64
}

// connect configures connections of every kind: 50 in all.
func (s *soak) connect() (all []*soakConnection) {
	s.t.Helper()
	client := s.newClient()
	write := func(c *soakConnection, config map[string]any) {
		_, err := client.Logical().WriteWithContext(s.t.Context(), s.mount+"/config/"+c.name, config)
		require.NoError(s.t, err)
		all = append(all, c)
	}
	portal := func(id string) gbgsim.Client { return s.g.client(s.t, id) }
	idp := func(id string) gbgsim.Client {
		made, err := s.g.CreateIDPClient(id)
		require.NoError(s.t, err)
		return made
	}
	paired := func(c *soakConnection, create func(id string) gbgsim.Client, config map[string]any) map[string]any {
		c.ids = [2]string{c.name + "-a", c.name + "-b"}
		a, b := create(c.ids[0]), create(c.ids[1])
		config["client_id"], config["client_secret"] = a.ID, a.Secret
		config["paired_client_id"], config["paired_client_secret"] = b.ID, b.Secret
		return config
	}
	for i := range 8 {
		c := &soakConnection{name: fmt.Sprintf("single-%d", i), shared: true}
		c.ids[0] = c.name
		write(c, map[string]any{"token_url": s.g.tokenURL(), "client_id": c.name, "client_secret": portal(c.name).Secret})
	}
	for i := range 18 {
		c := &soakConnection{name: fmt.Sprintf("pair-%d", i), shared: true, renew: s.g.Regenerate}
		write(c, paired(c, portal, map[string]any{"token_url": s.g.tokenURL()}))
	}
	for i := range 10 {
		c := &soakConnection{name: fmt.Sprintf("m2m-%d", i), shared: true, renew: s.g.RegenerateIDP}
		write(c, paired(c, idp, map[string]any{
			"grant_type": "id_auth", "token_url": s.g.identityURL(), "idp_token_url": s.g.url + gbgsim.IDPTokenPath,
		}))
	}
	for i := range 8 {
		c := &soakConnection{name: fmt.Sprintf("leased-%d", i), leased: true, renew: s.g.Regenerate}
		write(c, paired(c, portal, map[string]any{
			"token_url": s.g.tokenURL(), "lease": true, "revoke_url": s.g.url + gbgsim.RevokePath,
		}))
	}
	for i := range 6 {
		c := &soakConnection{name: fmt.Sprintf("own-%d", i), own: true}
		write(c, map[string]any{"grant_type": "id_auth", "token_url": s.g.identityURL()})
	}
	return all
}

func (s *soak) newClient() *api.Client {
	client, err := s.server.Client("")
	if err != nil {
		panic(err) // the same settings as those of any other
	}
	return client
}

// readOnly reads a connection, and nothing else.
func (s *soak) readOnly(c *soakConnection) {
	client := s.newClient()
	for !s.stopped.Load() {
		s.creds(client, c)
		pause()
	}
}

func pause() { time.Sleep(soakPause/2 + rand.N(soakPause)) }

// use does everything with a connection that there is to do.
func (s *soak) use(c *soakConnection) {
	client := s.newClient()
	for round := 1; !s.stopped.Load(); round++ {
		w := s.weather()
		answer := s.creds(client, c)
		ok := answer != nil && s.status(client, c, w)
		if ok && c.ids[0] != "" && answer.Data["client_id"] != c.ids[c.active] {
			s.broken("%s answers with client %v, and %s is active", c.name, answer.Data["client_id"], c.ids[c.active])
		}
		if ok && c.leased && round%4 != 0 { // the others end by themselves
			ok = s.revoke(client, c, answer)
		}
		if round%20 == 0 && c.renew != nil {
			ok = s.rotate(client, c) && ok
		}
		if round%20 == 10 {
			ok = s.write(client, c, w, "config", map[string]any{"request_timeout": fmt.Sprintf("%ds", 2+round/20%8)}) && ok
		}
		if ok {
			c.successes.Add(1)
		}
		pause()
	}
}

// creds reads a token, or exchanges one, and calls GBG's API with it; nil if
// there is none.
func (s *soak) creds(client *api.Client, c *soakConnection) *api.Secret {
	path := s.mount + "/creds/" + c.name
	w, began := s.weather(), time.Now()
	var answer *api.Secret
	var err error
	if c.own {
		idToken, idErr := s.g.IDToken(c.name)
		if idErr != nil {
			panic(idErr) // the subject is there
		}
		answer, err = client.Logical().WriteWithContext(s.t.Context(), path, map[string]any{"id_token": idToken})
	} else {
		answer, err = client.Logical().ReadWithContext(s.t.Context(), path)
	}
	s.count("reads")
	if err != nil || answer == nil {
		s.count("reads that failed")
		if s.calmSince(w) || c.shared && s.vaultCalmSince(w) {
			s.broken("a read of %s failed: %v", c.name, err)
		}
		return nil
	}
	token, _ := answer.Data["access_token"].(string)
	expires, timeErr := time.Parse(time.RFC3339, fmt.Sprint(answer.Data["expire_time"]))
	accepted, err := s.g.call(s.t.Context(), token)
	switch {
	case err != nil || timeErr != nil:
		s.broken("no call with a token of %s: %v", c.name, err)
	case !accepted && time.Now().After(expires) && began.Before(expires):
		s.count("tokens that ended on their way")
	case !accepted:
		s.broken("GBG refused a token of %s", c.name)
	}
	return answer
}

func (s *soak) status(client *api.Client, c *soakConnection, w weather) bool {
	answer, err := client.Logical().ReadWithContext(s.t.Context(), s.mount+"/status/"+c.name)
	switch {
	case err != nil || answer == nil:
		if s.vaultCalmSince(w) {
			s.broken("no status of %s: %v", c.name, err)
		}
		return false
	case c.ids[1] != "" && answer.Data["active_client_id"] != c.ids[c.active]:
		s.broken("status of %s: %v is active, it should be %s", c.name, answer.Data["active_client_id"], c.ids[c.active])
	}
	return true
}

// write is one write. That it succeeded may be counted on if nothing was
// disturbed.
func (s *soak) write(client *api.Client, c *soakConnection, w weather, path string, data map[string]any) bool {
	_, err := client.Logical().WriteWithContext(s.t.Context(), s.mount+"/"+path+"/"+c.name, data)
	if err == nil {
		s.count("writes of " + path)
		return true
	}
	s.count("writes that failed")
	if s.calmSince(w) {
		s.broken("a write of %s to %s failed: %v", path, c.name, err)
	}
	return false
}

// rotate renews the standby's secret and rotates to it, until Vault says that it
// is done.
func (s *soak) rotate(client *api.Client, c *soakConnection) bool {
	next := 1 - c.active
	secret, err := c.renew(c.ids[next])
	if err != nil {
		panic(err) // there is such a client
	}
	for !s.stopped.Load() {
		w := s.weather()
		if s.write(client, c, w, "rotate", map[string]any{"client_id": c.ids[next], "client_secret": secret}) {
			c.active = next
			s.count("rotations")
			return true
		}
		pause()
	}
	return false
}

// revoke ends a lease, and with it the token.
func (s *soak) revoke(client *api.Client, c *soakConnection, lease *api.Secret) bool {
	w := s.weather()
	err := client.Sys().RevokeWithOptionsWithContext(s.t.Context(), &api.RevokeOptions{LeaseID: lease.LeaseID, Sync: true})
	if err != nil {
		// An endpoint that failed is left alone for a while.
		inPause := strings.Contains(err.Error(), "the engine retries") && time.Now().Unix()-s.lastGBGFault.Load() < 60
		if s.calmSince(w) && !inPause {
			s.broken("a lease of %s was not revoked: %v", c.name, err)
		}
		return false
	}
	s.count("leases revoked")
	accepted, err := s.g.call(s.t.Context(), lease.Data["access_token"].(string))
	if (err != nil || accepted) && s.calmSince(w) {
		s.broken("a token of %s outlives its lease: %v", c.name, err)
	}
	return true
}
