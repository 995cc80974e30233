package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rights are what somebody may do: capabilities by path below the mount. A path
// that is not there is denied.
type rights map[string][]string

// join adds other rights to these.
func (r rights) join(others ...rights) rights {
	joined := maps.Clone(r)
	for _, other := range others {
		for path, capabilities := range other {
			joined[path] = append(slices.Clone(joined[path]), capabilities...)
		}
	}
	return joined
}

// forEveryConnection are the same capabilities on base for the connection
// "default", in both its forms, and for all others.
func forEveryConnection(base string, capabilities ...string) rights {
	r := rights{base: capabilities}
	for _, name := range connections {
		r[base+"/"+name] = capabilities
	}
	return r
}

// connections are those that the tests of policies configure: one's own, one
// whose name merely begins the same, another, and the one without a name.
var connections = []string{"team-a", "team-ab", "team-b", "default"}

// everyPath gives every form of every path of the engine.
func everyPath() []string {
	paths := []string{"metrics"}
	for _, base := range []string{"config", "creds", "keys", "rotate", "status", "verify"} {
		paths = append(paths, base, base+"/")
		for _, name := range connections {
			paths = append(paths, base+"/"+name)
		}
	}
	return paths
}

// withName leaves out the paths that end where a name would begin.
func withName(paths []string) []string {
	return slices.DeleteFunc(paths, func(path string) bool { return strings.HasSuffix(path, "/") })
}

// connectionOf is the connection that a path is about.
func connectionOf(path string) string {
	_, name, _ := strings.Cut(path, "/")
	if name == "" {
		return "default"
	}
	return name
}

// What the roles that work on all connections are made of.
var (
	configures = forEveryConnection("config", "create", "read", "update", "delete")
	lists      = rights{"config/": {"list"}}
	rotates    = forEveryConnection("rotate", "update")
	verifies   = forEveryConnection("verify", "update")
	readsKeys  = forEveryConnection("keys", "read").join(rights{"keys/": {"read"}}) // "+" is also an empty name
	makesKeys  = readsKeys.join(forEveryConnection("keys", "update"))
	watches    = forEveryConnection("status", "read").join(rights{"status/": {"list"}})
)

// examplePolicies says what each file must allow to a caller whose entity has
// the metadata team=team-a.
var examplePolicies = map[string]rights{
	"team-reader.hcl":    {"creds/team-a": {"read"}},
	"default-reader.hcl": {"creds": {"read"}, "creds/default": {"read"}},
	"exchanger.hcl":      {"creds/team-a": {"update"}},
	"team-templated.hcl": {"creds/team-a": {"read"}, "status/team-a": {"read"}},
	"team-operator.hcl":  {"rotate/team-a": {"update"}, "verify/team-a": {"update"}, "keys/team-a": {"read"}, "status/team-a": {"read"}},
	"operator.hcl":       rotates.join(verifies, readsKeys, watches),
	"auditor.hcl":        verifies.join(watches, lists),
	"administrator.hcl":  configures.join(lists, rotates, verifies, makesKeys, watches),
	"monitoring.hcl":     {"metrics": {"read"}},
}

// Each file of examples/policies opens what it is for and nothing else: every
// operation on every path is tried, and what is allowed is really done.
func TestExamplePolicies(t *testing.T) {
	w := newTeams(t)
	files, err := filepath.Glob("../examples/policies/*")
	require.NoError(t, err)
	require.Len(t, files, len(examplePolicies), "files and expectations")
	page := teamsPage(t)
	for _, path := range files {
		file := filepath.Base(path)
		t.Run(file, func(t *testing.T) {
			may, ok := examplePolicies[file]
			require.True(t, ok, "no expectations for this file")
			assert.Contains(t, page, "`"+file+"`", "the page tells of it")
			policy, err := os.ReadFile(path)
			require.NoError(t, err)
			name := strings.TrimSuffix(file, ".hcl")
			w.policy(name, string(policy))
			w.tryEverything(t, w.logIn("user-of-"+name, map[string]string{"team": "team-a"}, name), may)
		})
	}
}

// One templated policy serves all teams. Whoever writes an entity's metadata
// decides what it opens.
func TestTemplatedPolicy(t *testing.T) {
	w := newTeams(t)
	policy, err := os.ReadFile("../examples/policies/team-templated.hcl")
	require.NoError(t, err)
	w.policy("templated", string(policy))
	// "+" stands for an empty name too, which the engine does not know.
	everyTeam := forEveryConnection("status", "read").join(forEveryConnection("creds", "read"), rights{"creds/": {"read"}, "status/": {"read"}})
	delete(everyTeam, "creds")
	delete(everyTeam, "status")
	for name, test := range map[string]struct {
		metadata map[string]string
		may      rights
	}{
		"another team": {map[string]string{"team": "team-b"}, rights{"creds/team-b": {"read"}, "status/team-b": {"read"}}},
		"no team":      {map[string]string{"floor": "2"}, rights{}},
		"nothing":      {map[string]string{"team": ""}, rights{"creds/": {"read"}, "status/": {"read"}}},
		"a plus":       {map[string]string{"team": "+"}, everyTeam},
		"a star":       {map[string]string{"team": "*"}, everyTeam},
	} {
		t.Run(name, func(t *testing.T) {
			user := strings.ReplaceAll(name, " ", "-")
			w.tryEverything(t, w.logIn(user, test.metadata, "templated"), test.may)
		})
	}
}

// What docs/teams.md says about paths that say more, or less, than they seem to.
func TestPolicyWildcards(t *testing.T) {
	w := newTeams(t)
	page := teamsPage(t)
	named := []string{"creds/team-a", "creds/team-ab", "creds/team-b", "creds/default"}
	for name, test := range map[string]struct {
		policy rights
		opens  []string // to read
	}{
		"a name and a star":   {rights{"creds/team-a*": {"read"}}, []string{"creds/team-a", "creds/team-ab"}},
		"every name":          {rights{"creds/*": {"read"}}, named},
		"every name, by plus": {rights{"creds/+": {"read"}}, named},
		"star without slash":  {rights{"creds*": {"read"}}, append([]string{"creds"}, named...)},
		"every path of a team": {
			rights{"+/team-a": {"read"}},
			[]string{"config/team-a", "creds/team-a", "keys/team-a", "rotate/team-a", "status/team-a", "verify/team-a"},
		},
		"the whole mount":              {rights{"*": {"read"}}, withName(everyPath())},
		"no name":                      {rights{"creds": {"read"}}, []string{"creds"}},
		"denied in one of two forms":   {rights{"creds": {"read"}, "creds/default": {"deny"}}, []string{"creds"}},
		"the more exact decides alone": {rights{"creds/+": {"read"}, "creds/team-a": {"update"}}, named[1:]},
	} {
		t.Run(name, func(t *testing.T) {
			var policy strings.Builder
			for path, capabilities := range test.policy {
				fmt.Fprintf(&policy, "path %q { capabilities = [%q] }\n", "gbg/"+path, capabilities[0])
				assert.Contains(t, page, "`gbg/"+path+"`", "the page tells of it")
			}
			w.policy("wildcards", policy.String())
			who := w.as("wildcards")
			var opens []string
			for _, path := range everyPath() {
				status := who.ask("read", path, nil).status
				switch {
				case strings.HasSuffix(path, "/"):
					assert.NotEqual(t, http.StatusOK, status, "%s: no connection has no name", path)
				case status != http.StatusForbidden:
					opens = append(opens, path)
				}
			}
			assert.Equal(t, test.opens, opens)
		})
	}
}

// teamsPage is the text of docs/teams.md.
func teamsPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../docs/teams.md")
	require.NoError(t, err)
	return string(page)
}

// teams is the plugin at gbg/, with a connection for each name in connections,
// seen with all rights.
type teams struct {
	*mount
	gbg     *gbg
	pairs   map[string]map[string]any // configuration writes
	auth    *api.AuthMount            // userpass
	changes int                       // of a configuration
}

func newTeams(t *testing.T) *teams {
	t.Helper()
	client, err := suite.server.Client("")
	require.NoError(t, err)
	w := &teams{
		mount: &mount{t: t, path: "gbg", client: client},
		gbg:   newGBG(t, time.Hour), pairs: map[string]map[string]any{},
	}
	require.NoError(t, suite.server.Enable(t.Context(), w.path))
	t.Cleanup(func() { _ = client.Sys().Unmount(w.path) })
	for _, name := range connections {
		first, second := w.gbg.client(t, name+".1"), w.gbg.client(t, name+".2")
		w.pairs[name] = map[string]any{
			"token_url": w.gbg.tokenURL(),
			"client_id": first.ID, "client_secret": first.Secret,
			"paired_client_id": second.ID, "paired_client_secret": second.Secret,
		}
		w.write("config/"+name, w.pairs[name])
	}

	require.NoError(t, client.Sys().EnableAuthWithOptionsWithContext(t.Context(), "userpass", &api.EnableAuthOptions{Type: "userpass"}))
	t.Cleanup(func() { _ = client.Sys().DisableAuth("userpass") })
	methods, err := client.Sys().ListAuthWithContext(t.Context())
	require.NoError(t, err)
	w.auth = methods["userpass/"]
	return w
}

// policy writes a policy.
func (w *teams) policy(name, rules string) {
	w.t.Helper()
	require.NoError(w.t, w.client.Sys().PutPolicyWithContext(w.t.Context(), name, rules))
	w.t.Cleanup(func() { _ = w.client.Sys().DeletePolicy(name) })
}

// logIn makes a user with an entity of its own, and gives what it sees of the
// mount once it has logged in.
func (w *teams) logIn(user string, metadata map[string]string, policies ...string) *mount {
	w.t.Helper()
	vault := w.client.Logical()
	must := func(s *api.Secret, err error) *api.Secret {
		require.NoError(w.t, err)
		return s
	}
	password := map[string]any{"password": "fake-password", "token_policies": policies}
	must(vault.WriteWithContext(w.t.Context(), "auth/userpass/users/"+user, password))
	entity := must(vault.WriteWithContext(w.t.Context(), "identity/entity", map[string]any{"name": user, "metadata": metadata}))
	w.t.Cleanup(func() { _, _ = vault.Delete("identity/entity/name/" + user) })
	must(vault.WriteWithContext(w.t.Context(), "identity/entity-alias", map[string]any{
		"name": user, "canonical_id": entity.Data["id"], "mount_accessor": w.auth.Accessor,
	}))
	login := must(vault.WriteWithContext(w.t.Context(), "auth/userpass/login/"+user, password))
	client, err := w.client.Clone()
	require.NoError(w.t, err)
	client.SetToken(login.Auth.ClientToken)
	return &mount{t: w.t, path: w.path, client: client}
}

// tryEverything tries every operation on every path: what who may do must
// happen, all else must be forbidden.
func (w *teams) tryEverything(t *testing.T, who *mount, may rights) {
	t.Helper()
	for path, capabilities := range w.capabilities(t, who) {
		want := slices.Sorted(slices.Values(may[path]))
		if len(want) == 0 {
			want = []string{"deny"}
		}
		assert.Equal(t, want, capabilities, "what Vault says of %s", path)
	}
	for _, path := range everyPath() {
		for _, operation := range []string{"create", "read", "update", "patch", "delete", "list"} {
			if operation == "create" && !strings.HasPrefix(path, "config") {
				continue // Vault takes every write there for an update
			}
			what := operation + " " + path
			got := w.try(t, who, operation, path)
			asked := path
			if operation == "list" {
				asked = strings.TrimSuffix(path, "/") + "/" // Vault adds it
			}
			switch {
			case strings.HasSuffix(path, "/") && slices.Contains([]string{"create", "update", "patch"}, operation):
				assert.Equal(t, http.StatusBadRequest, got.status, "%s: Vault itself refuses it, whoever asks", what)
			case strings.HasSuffix(path, "/") && operation == "read" && slices.Contains(may[path], "read"):
				assert.Equal(t, http.StatusNotFound, got.status, "%s: no connection has no name", what)
			case !slices.Contains(may[asked], operation):
				assert.Equal(t, http.StatusForbidden, got.status, what)
				assert.Contains(t, got.text, "permission denied", what)
			default:
				w.assertDone(t, operation, path, got)
			}
		}
	}
}

// capabilities are what someone may do, as Vault lists it.
func (w *teams) capabilities(t *testing.T, who *mount) rights {
	t.Helper()
	// Of a path with a slash at the end this says what a list would be allowed.
	paths := withName(everyPath())
	var full []string
	for _, path := range paths {
		full = append(full, w.path+"/"+path)
	}
	s, err := w.client.Logical().WriteWithContext(t.Context(), "sys/capabilities", map[string]any{"token": who.client.Token(), "paths": full})
	require.NoError(t, err)
	all := rights{}
	for i, path := range paths {
		var capabilities []string
		for _, capability := range s.Data[full[i]].([]any) {
			capabilities = append(capabilities, capability.(string))
		}
		all[path] = slices.Sorted(slices.Values(capabilities))
	}
	return all
}

// try does one operation as somebody. A connection to be created is not there
// before; everything else is.
func (w *teams) try(t *testing.T, who *mount, operation, path string) answer {
	t.Helper()
	base, _, _ := strings.Cut(path, "/")
	name := connectionOf(path)
	body := map[string]any{}
	switch {
	case operation == "create":
		w.delete("config/" + name)
		body = w.pairs[name]
	case base == "config":
		w.write("config/"+name, w.pairs[name])
		w.changes++
		body["refresh_before"] = 60 + w.changes
	case base == "creds":
		body["id_token"] = "fake-id-token"
	case base == "rotate":
		body["client_id"] = w.read("status/" + name).Data["standby_client_id"]
	}
	return who.ask(operation, path, body)
}

// assertDone asserts that an operation that is allowed did what it is for.
func (w *teams) assertDone(t *testing.T, operation, path string, got answer) {
	t.Helper()
	base, _, _ := strings.Cut(path, "/")
	name := connectionOf(path)
	what := operation + " " + path
	if base == "creds" && operation == "update" {
		// What the engine makes of a token that nobody issued is not the
		// policy's business.
		assert.NotEqual(t, http.StatusForbidden, got.status, what)
		return
	}
	if what == "delete config" {
		assert.Equal(t, http.StatusBadRequest, got.status, "a delete needs a name")
		return
	}
	if base == "keys" {
		assert.Equal(t, http.StatusBadRequest, got.status, what)
		assert.Contains(t, got.text, "the clients of this connection have no keys", what)
		return
	}
	require.Less(t, got.status, 300, "%s: %s", what, got.text)
	switch operation + " " + base {
	case "read creds":
		assert.Equal(t, name, got.data["connection"], what)
		token := fmt.Sprint(got.data["access_token"])
		accepted, err := w.gbg.call(t.Context(), token)
		require.NoError(t, err)
		assert.True(t, accepted, "%s: GBG accepts the token", what)
		owner, _ := w.gbg.TokenClient(token)
		assert.Contains(t, []string{name + ".1", name + ".2"}, owner, what)
	case "read status":
		assert.Equal(t, name, got.data["connection"], what)
	case "read config":
		assert.Equal(t, name+".1", got.data["client_id"], what)
	case "read metrics":
		assert.Contains(t, got.text, `gbg_client_active{client_id="team-a.1",connection="team-a"} 1`, what)
	case "list config", "list status":
		assert.Equal(t, []any{"default", "team-a", "team-ab", "team-b"}, got.data["keys"], what)
	case "update verify":
		assert.Equal(t, name, got.data["connection"], what)
		assert.Len(t, got.data["clients"], 2, what)
	case "update rotate":
		assert.Equal(t, true, got.data["rotated"], what)
		assert.Equal(t, got.data["active_client_id"], w.read("config/" + name).Data["active_client_id"], what)
	case "create config":
		assert.Equal(t, name+".1", w.read("config/" + name).Data["client_id"], what)
	case "update config":
		assert.Equal(t, fmt.Sprint(60+w.changes), number(t, w.read("config/" + name).Data["refresh_before"]), what)
	case "delete config":
		assert.Nil(t, w.read("config/"+name), what)
	default:
		assert.Fail(t, "allowed, and nobody knows what it is for", what)
	}
}
