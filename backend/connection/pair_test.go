package connection_test

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"gbg.example/vault-plugin-secrets-gbg/backend/connection"
)

// pairNow is the moment of every transition here; what the fixtures hold is
// older.
var pairNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// The fixtures' clients differ in everything, so that a record that does not
// follow its id shows.
var (
	clientA = connection.Client{
		ID: "id-a", Secret: connection.NewSecret("fake-a1"),
		SecretSetTime: pairNow.Add(-9 * time.Hour), VerifiedTime: pairNow.Add(-8 * time.Hour), SecretServed: true,
	}
	clientB = connection.Client{
		ID: "id-b", Secret: connection.NewSecret("fake-b1"),
		SecretSetTime: pairNow.Add(-7 * time.Hour), VerifiedTime: pairNow.Add(-6 * time.Hour), SecretServed: true,
	}
	noClient = connection.Client{}
)

// The pairs to start from are made anew each time, so that a test can see
// whether a transition changed the one it was given.
func noPair() connection.Pair        { return connection.Pair{} }
func pairAlone() connection.Pair     { return pairOf(clientA, noClient, connection.First) }
func pairAB() connection.Pair        { return pairOf(clientA, clientB, connection.First) }
func pairABActiveB() connection.Pair { return pairOf(clientA, clientB, connection.Paired) }

func pairOf(first, paired connection.Client, active connection.Slot) connection.Pair {
	return connection.Pair{Clients: [2]connection.Client{first, paired}, ActiveSlot: active}
}

// newSecretNow is a client whose secret was set just now.
func newSecretNow(id, secret string) connection.Client {
	return connection.Client{ID: id, Secret: connection.NewSecret(secret), SecretSetTime: pairNow}
}

// pairWrite is a configuration write as a person gives it: "client_id=id-a".
func pairWrite(fields ...string) connection.PairChange {
	var change connection.PairChange
	for _, field := range fields {
		name, value, ok := strings.Cut(field, "=")
		if !ok {
			panic("not name=value: " + field)
		}
		switch connection.Field(name) {
		case connection.ClientID:
			change.IDs[connection.First] = &value
		case connection.PairedClientID:
			change.IDs[connection.Paired] = &value
		case connection.ClientSecret:
			change.Secrets[connection.First] = new(connection.NewSecret(value))
		case connection.PairedClientSecret:
			change.Secrets[connection.Paired] = new(connection.NewSecret(value))
		default:
			panic("no such field: " + field)
		}
	}
	return change
}

func TestPairChange(t *testing.T) {
	t.Parallel()
	newA, newB, newC := newSecretNow("id-a", "fake-a2"), newSecretNow("id-b", "fake-b2"), newSecretNow("id-c", "fake-c1")
	for _, tc := range []struct {
		name  string
		from  func() connection.Pair
		write connection.PairChange
		want  connection.Pair
	}{
		// The first write.
		{
			"first write, one client", noPair,
			pairWrite("client_id=id-c", "client_secret=fake-c1"),
			pairOf(newC, noClient, connection.First),
		},
		{
			"first write, one client, the other named empty", noPair,
			pairWrite("client_id=id-c", "client_secret=fake-c1", "paired_client_id=", "paired_client_secret="),
			pairOf(newC, noClient, connection.First),
		},
		{
			"first write, two clients", noPair,
			pairWrite("client_id=id-c", "client_secret=fake-c1", "paired_client_id=id-b", "paired_client_secret=fake-b2"),
			pairOf(newC, newB, connection.First),
		},
		{
			"first write, two clients with the same secret", noPair,
			pairWrite("client_id=id-c", "client_secret=fake-c1", "paired_client_id=id-d", "paired_client_secret=fake-c1"),
			pairOf(newC, newSecretNow("id-d", "fake-c1"), connection.First),
		},

		// Writes that change nothing.
		{"nothing said, no pair", pairAlone, pairWrite(), pairAlone()},
		{"nothing said, first active", pairAB, pairWrite(), pairAB()},
		{"nothing said, paired active", pairABActiveB, pairWrite(), pairABActiveB()},
		{"same id again", pairAlone, pairWrite("client_id=id-a"), pairAlone()},
		{"same secret again, without its id", pairAlone, pairWrite("client_secret=fake-a1"), pairAlone()},
		{"same paired secret again, without its id", pairAB, pairWrite("paired_client_secret=fake-b1"), pairAB()},
		{
			"everything again, first active", pairAB,
			pairWrite("client_id=id-a", "client_secret=fake-a1", "paired_client_id=id-b", "paired_client_secret=fake-b1"),
			pairAB(),
		},
		{
			"everything again, paired active", pairABActiveB,
			pairWrite("client_id=id-a", "client_secret=fake-a1", "paired_client_id=id-b", "paired_client_secret=fake-b1"),
			pairABActiveB(),
		},
		{"no paired client, said again", pairAlone, pairWrite("paired_client_id="), pairAlone()},
		{"no paired client and no secret of it, said again", pairAlone, pairWrite("paired_client_id=", "paired_client_secret="), pairAlone()},
		{"no paired secret, said again", pairAlone, pairWrite("paired_client_secret="), pairAlone()},

		// New secrets.
		{"new secret, no pair", pairAlone, pairWrite("client_secret=fake-a2"), pairOf(newA, noClient, connection.First)},
		{"new secret with its id", pairAlone, pairWrite("client_id=id-a", "client_secret=fake-a2"), pairOf(newA, noClient, connection.First)},
		{"new secret of the active first", pairAB, pairWrite("client_secret=fake-a2"), pairOf(newA, clientB, connection.First)},
		{"new secret of the standby first", pairABActiveB, pairWrite("client_secret=fake-a2"), pairOf(newA, clientB, connection.Paired)},
		{"new secret of the standby paired", pairAB, pairWrite("paired_client_secret=fake-b2"), pairOf(clientA, newB, connection.First)},
		{"new secret of the active paired", pairABActiveB, pairWrite("paired_client_secret=fake-b2"), pairOf(clientA, newB, connection.Paired)},
		{"two new secrets", pairAB, pairWrite("client_secret=fake-a2", "paired_client_secret=fake-b2"), pairOf(newA, newB, connection.First)},
		{"one new secret, one again", pairAB, pairWrite("client_secret=fake-a1", "paired_client_secret=fake-b2"), pairOf(clientA, newB, connection.First)},
		{
			"the other client's secret is a new one", pairAB, pairWrite("client_secret=fake-b1"),
			pairOf(newSecretNow("id-a", "fake-b1"), clientB, connection.First),
		},

		// The paired client comes and goes.
		{
			"paired added later", pairAlone,
			pairWrite("paired_client_id=id-b", "paired_client_secret=fake-b2"), pairOf(clientA, newB, connection.First),
		},
		{
			"paired added with everything", pairAlone,
			pairWrite("client_id=id-a", "client_secret=fake-a1", "paired_client_id=id-b", "paired_client_secret=fake-b2"),
			pairOf(clientA, newB, connection.First),
		},
		{"paired removed, standby", pairAB, pairWrite("paired_client_id="), pairAlone()},
		{"paired and its secret removed, standby", pairAB, pairWrite("paired_client_id=", "paired_client_secret="), pairAlone()},
		{"paired removed, first gets a new secret", pairAB, pairWrite("paired_client_id=", "client_secret=fake-a2"), pairOf(newA, noClient, connection.First)},

		// A new client takes a place: the place stays active or standby.
		{"only client replaced", pairAlone, pairWrite("client_id=id-c", "client_secret=fake-c1"), pairOf(newC, noClient, connection.First)},
		{"active first replaced", pairAB, pairWrite("client_id=id-c", "client_secret=fake-c1"), pairOf(newC, clientB, connection.First)},
		{"active paired replaced", pairABActiveB, pairWrite("paired_client_id=id-c", "paired_client_secret=fake-c1"), pairOf(clientA, newC, connection.Paired)},
		{"standby first replaced", pairABActiveB, pairWrite("client_id=id-c", "client_secret=fake-c1"), pairOf(newC, clientB, connection.Paired)},
		{"standby paired replaced", pairAB, pairWrite("paired_client_id=id-c", "paired_client_secret=fake-c1"), pairOf(clientA, newC, connection.First)},
		{
			"both replaced, first active", pairAB,
			pairWrite("client_id=id-c", "client_secret=fake-c1", "paired_client_id=id-d", "paired_client_secret=fake-d1"),
			pairOf(newC, newSecretNow("id-d", "fake-d1"), connection.First),
		},
		{
			"both replaced, paired active", pairABActiveB,
			pairWrite("client_id=id-c", "client_secret=fake-c1", "paired_client_id=id-d", "paired_client_secret=fake-d1"),
			pairOf(newC, newSecretNow("id-d", "fake-d1"), connection.Paired),
		},
		{
			"active first replaced, paired removed", pairAB,
			pairWrite("client_id=id-c", "client_secret=fake-c1", "paired_client_id="), pairOf(newC, noClient, connection.First),
		},
		{
			"replaced with the old client's secret", pairAlone, pairWrite("client_id=id-c", "client_secret=fake-a1"),
			pairOf(newSecretNow("id-c", "fake-a1"), noClient, connection.First),
		},

		// Clients change places: secrets follow ids, and so does "active".
		{"swapped, first active", pairAB, pairWrite("client_id=id-b", "paired_client_id=id-a"), pairOf(clientB, clientA, connection.Paired)},
		{"swapped, paired active", pairABActiveB, pairWrite("client_id=id-b", "paired_client_id=id-a"), pairOf(clientB, clientA, connection.First)},
		{
			"swapped, same secrets given", pairAB,
			pairWrite("client_id=id-b", "client_secret=fake-b1", "paired_client_id=id-a", "paired_client_secret=fake-a1"),
			pairOf(clientB, clientA, connection.Paired),
		},
		{
			"swapped, one new secret", pairAB, pairWrite("client_id=id-b", "client_secret=fake-b2", "paired_client_id=id-a"),
			pairOf(newB, clientA, connection.Paired),
		},
		{
			"swapped, two new secrets", pairABActiveB,
			pairWrite("client_id=id-b", "client_secret=fake-b2", "paired_client_id=id-a", "paired_client_secret=fake-a2"),
			pairOf(newB, newA, connection.First),
		},
		{
			"active first moves, a new client takes its place", pairAB,
			pairWrite("client_id=id-c", "client_secret=fake-c1", "paired_client_id=id-a"), pairOf(newC, clientA, connection.Paired),
		},
		{
			"active paired moves, a new client takes its place", pairABActiveB,
			pairWrite("client_id=id-b", "paired_client_id=id-c", "paired_client_secret=fake-c1"), pairOf(clientB, newC, connection.First),
		},
		{
			"standby first moves to the active place", pairABActiveB,
			pairWrite("client_id=id-c", "client_secret=fake-c1", "paired_client_id=id-a"), pairOf(newC, clientA, connection.Paired),
		},
		{
			"standby paired moves to the active place", pairAB,
			pairWrite("client_id=id-b", "paired_client_id=id-c", "paired_client_secret=fake-c1"), pairOf(clientB, newC, connection.First),
		},
		{
			"only client moves to the paired place", pairAlone,
			pairWrite("client_id=id-c", "client_secret=fake-c1", "paired_client_id=id-a"), pairOf(newC, clientA, connection.Paired),
		},

		// The paired id becomes client_id, and the pair goes.
		{"active paired becomes the only client", pairABActiveB, pairWrite("client_id=id-b", "paired_client_id="), pairOf(clientB, noClient, connection.First)},
		{"standby paired becomes the only client", pairAB, pairWrite("client_id=id-b", "paired_client_id="), pairOf(clientB, noClient, connection.First)},
		{
			"paired becomes the only client, with a new secret", pairABActiveB,
			pairWrite("client_id=id-b", "client_secret=fake-b2", "paired_client_id="), pairOf(newB, noClient, connection.First),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			from := tc.from()
			got, err := from.Change(tc.write, pairNow)
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
			assert.Equal(t, tc.from(), from, "the receiver")

			again, err := got.Change(tc.write, pairNow.Add(time.Hour))
			require.NoError(t, err, "the same write again")
			assert.Equal(t, got, again, "the same write again")
		})
	}
}

func TestPairChangeRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		from  func() connection.Pair
		write connection.PairChange
		want  string
	}{
		// The first write.
		{"nothing given", noPair, pairWrite(), "client_id is missing"},
		{"secret without id", noPair, pairWrite("client_secret=fake-a1"), "client_id is missing"},
		{"empty id", noPair, pairWrite("client_id=", "client_secret=fake-a1"), "client_id is missing"},
		{"id without secret", noPair, pairWrite("client_id=id-a"), "client_secret is missing"},
		{"empty secret", noPair, pairWrite("client_id=id-a", "client_secret="), "client_secret is missing"},
		{"paired client only", noPair, pairWrite("paired_client_id=id-b", "paired_client_secret=fake-b1"), "client_id is missing"},
		{
			"paired id without secret", noPair,
			pairWrite("client_id=id-a", "client_secret=fake-a1", "paired_client_id=id-b"), "paired_client_secret is missing",
		},
		{
			"paired id with empty secret", noPair,
			pairWrite("client_id=id-a", "client_secret=fake-a1", "paired_client_id=id-b", "paired_client_secret="), "paired_client_secret is missing",
		},
		{
			"paired secret without id", noPair,
			pairWrite("client_id=id-a", "client_secret=fake-a1", "paired_client_secret=fake-b1"), "paired_client_id is missing: a secret was given for it",
		},
		{
			"paired secret with empty id", noPair,
			pairWrite("client_id=id-a", "client_secret=fake-a1", "paired_client_id=", "paired_client_secret=fake-b1"), "paired_client_id is missing: a secret was given for it",
		},
		{
			"equal ids", noPair,
			pairWrite("client_id=id-a", "client_secret=fake-a1", "paired_client_id=id-a", "paired_client_secret=fake-b1"),
			"paired_client_id is the same as client_id; a pair is two different clients",
		},

		// One client.
		{"only client removed", pairAlone, pairWrite("client_id="), "client_id is missing"},
		{"only client's secret removed", pairAlone, pairWrite("client_secret="), "client_secret is missing"},
		{"new id without secret", pairAlone, pairWrite("client_id=id-c"), "client_secret is missing"},
		{"new paired id without secret", pairAlone, pairWrite("paired_client_id=id-b"), "paired_client_secret is missing"},
		{"new paired secret without id", pairAlone, pairWrite("paired_client_secret=fake-b1"), "paired_client_id is missing: a secret was given for it"},
		{"new paired secret with empty id", pairAlone, pairWrite("paired_client_id=", "paired_client_secret=fake-b1"), "paired_client_id is missing: a secret was given for it"},
		{"paired with itself", pairAlone, pairWrite("paired_client_id=id-a"), "paired_client_id is the same as client_id; a pair is two different clients"},
		{"only client moves, nobody takes its place", pairAlone, pairWrite("client_id=", "paired_client_id=id-a"), "client_id is missing"},

		// Two clients.
		{"first removed", pairAB, pairWrite("client_id="), "client_id is missing"},
		{"first removed, standby", pairABActiveB, pairWrite("client_id="), "client_id is missing"},
		{"both removed", pairAB, pairWrite("client_id=", "paired_client_id="), "client_id is missing"},
		{"first's secret removed", pairAB, pairWrite("client_secret="), "client_secret is missing"},
		{"paired's secret removed", pairAB, pairWrite("paired_client_secret="), "paired_client_secret is missing"},
		{"new first without secret", pairAB, pairWrite("client_id=id-c"), "client_secret is missing"},
		{"new first with the secret in the other place", pairAB, pairWrite("client_id=id-c", "paired_client_secret=fake-c1"), "client_secret is missing"},
		{"new paired without secret", pairAB, pairWrite("paired_client_id=id-c"), "paired_client_secret is missing"},
		{"swapped, a secret removed", pairAB, pairWrite("client_id=id-b", "client_secret=", "paired_client_id=id-a"), "client_secret is missing"},
		{"first set to the paired id", pairAB, pairWrite("client_id=id-b"), "paired_client_id is the same as client_id; a pair is two different clients"},
		{"paired set to the first id", pairAB, pairWrite("paired_client_id=id-a"), "paired_client_id is the same as client_id; a pair is two different clients"},
		{
			"both set to a new id", pairAB,
			pairWrite("client_id=id-c", "client_secret=fake-c1", "paired_client_id=id-c", "paired_client_secret=fake-c1"),
			"paired_client_id is the same as client_id; a pair is two different clients",
		},
		{
			"paired removed, with a secret for it", pairAB,
			pairWrite("paired_client_id=", "paired_client_secret=fake-b1"), "paired_client_secret has no client: paired_client_id is empty",
		},
		{
			"active paired removed", pairABActiveB, pairWrite("paired_client_id="),
			"paired_client_id cannot be removed: it is the active client. Rotate first, then remove it",
		},
		{
			"active paired removed, and its secret", pairABActiveB, pairWrite("paired_client_id=", "paired_client_secret="),
			"paired_client_id cannot be removed: it is the active client. Rotate first, then remove it",
		},
		{
			"active paired removed, first replaced", pairABActiveB,
			pairWrite("client_id=id-c", "client_secret=fake-c1", "paired_client_id="),
			"paired_client_id cannot be removed: it is the active client. Rotate first, then remove it",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			from := tc.from()
			got, err := from.Change(tc.write, pairNow)
			requireInputError(t, err, tc.want)
			assert.Equal(t, tc.from(), got, "what comes with the error")
			assert.Equal(t, tc.from(), from, "the receiver")
		})
	}
}

// requireInputError requires an InputError with this text, which starts with the
// setting.
func requireInputError(t *testing.T, err error, want string) {
	t.Helper()
	var refused *connection.InputError
	require.ErrorAs(t, err, &refused)
	require.EqualError(t, err, want)
	setting, problem, _ := strings.Cut(want, " ")
	assert.Equal(t, connection.Field(setting), refused.Field)
	assert.Equal(t, problem, refused.Problem)
}

func TestPairSides(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name            string
		pair            connection.Pair
		active, standby connection.Client
		ok              bool
	}{
		{"no client at all", noPair(), noClient, noClient, false},
		{"no pair", pairAlone(), clientA, noClient, false},
		{"first active", pairAB(), clientA, clientB, true},
		{"paired active", pairABActiveB(), clientB, clientA, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tc.active, tc.pair.Active())
			standby, ok := tc.pair.Standby()
			assert.Equal(t, tc.standby, standby)
			assert.Equal(t, tc.ok, ok)
		})
	}
}

func TestPairWithStandbySecret(t *testing.T) {
	t.Parallel()
	newA, newB := newSecretNow("id-a", "fake-a2"), newSecretNow("id-b", "fake-b2")
	for _, tc := range []struct {
		name   string
		from   func() connection.Pair
		secret string
		want   connection.Pair
		err    error
	}{
		{"paired stands by", pairAB, "fake-b2", pairOf(clientA, newB, connection.First), nil},
		{"first stands by", pairABActiveB, "fake-a2", pairOf(newA, clientB, connection.Paired), nil},
		{"the same secret again", pairAB, "fake-b1", pairAB(), nil},
		{"the active client's secret is a new one", pairAB, "fake-a1", pairOf(clientA, newSecretNow("id-b", "fake-a1"), connection.First), nil},
		{"no pair", pairAlone, "fake-b2", pairAlone(), connection.ErrNoPair},
		{"no client at all", noPair, "fake-b2", noPair(), connection.ErrNoPair},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			from := tc.from()
			got, err := from.WithStandbySecret(connection.NewSecret(tc.secret), pairNow)
			assert.ErrorIs(t, err, tc.err)
			assert.Equal(t, tc.want, got)
			assert.Equal(t, tc.from(), from, "the receiver")
		})
	}
}

func TestPairFlip(t *testing.T) {
	t.Parallel()
	newA, newB := newSecretNow("id-a", "fake-a2"), newSecretNow("id-b", "fake-b2")
	served := func(c connection.Client) connection.Client {
		c.SecretServed = true
		return c
	}
	for _, tc := range []struct {
		name string
		from func() connection.Pair
		want connection.Pair
		err  error
	}{
		{
			"first leaves", func() connection.Pair { return pairOf(newA, newB, connection.First) },
			pairOf(served(newA), newB, connection.Paired), nil,
		},
		{
			"paired leaves", func() connection.Pair { return pairOf(newA, newB, connection.Paired) },
			pairOf(newA, served(newB), connection.First), nil,
		},
		{"secrets that have served keep their mark", pairAB, pairABActiveB(), nil},
		{"no pair", pairAlone, pairAlone(), connection.ErrNoPair},
		{"no client at all", noPair, noPair(), connection.ErrNoPair},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			from := tc.from()
			got, err := from.Flip()
			assert.ErrorIs(t, err, tc.err)
			assert.Equal(t, tc.want, got)
			assert.Equal(t, tc.from(), from, "the receiver")
		})
	}
}

// A round of rotations: each secret is marked when it leaves, and a new one is
// not.
func TestPairFlipTwice(t *testing.T) {
	t.Parallel()
	pair := pairOf(newSecretNow("id-a", "fake-a1"), newSecretNow("id-b", "fake-b1"), connection.First)
	start := pair
	served := func() [2]bool { return [2]bool{pair.Clients[0].SecretServed, pair.Clients[1].SecretServed} }

	var err error
	pair, err = pair.Flip()
	require.NoError(t, err)
	assert.Equal(t, "id-b", pair.Active().ID)
	assert.Equal(t, [2]bool{true, false}, served())

	twice, err := pair.Flip()
	require.NoError(t, err)
	assert.Equal(t, "id-a", twice.Active().ID, "flipped back")
	assert.True(t, twice.Active().SecretServed, "back with the secret it had")
	assert.True(t, twice.Clients[connection.Paired].SecretServed)
	twice.Clients[0].SecretServed, twice.Clients[1].SecretServed = false, false
	assert.Equal(t, start, twice, "but for the marks, two flips are none")

	pair, err = pair.WithStandbySecret(connection.NewSecret("fake-a2"), pairNow)
	require.NoError(t, err)
	assert.Equal(t, [2]bool{false, false}, served(), "a new secret has not served")
	pair, err = pair.Flip()
	require.NoError(t, err)
	assert.Equal(t, "id-a", pair.Active().ID)
	assert.Equal(t, [2]bool{false, true}, served())
}

func TestPairVerified(t *testing.T) {
	t.Parallel()
	verified := func(c connection.Client) connection.Client {
		c.VerifiedTime = pairNow
		return c
	}
	for _, tc := range []struct {
		name string
		from func() connection.Pair
		id   string
		want connection.Pair
	}{
		{"only client", pairAlone, "id-a", pairOf(verified(clientA), noClient, connection.First)},
		{"active", pairAB, "id-a", pairOf(verified(clientA), clientB, connection.First)},
		{"standby", pairAB, "id-b", pairOf(clientA, verified(clientB), connection.First)},
		{"active paired", pairABActiveB, "id-b", pairOf(clientA, verified(clientB), connection.Paired)},
		{"somebody else", pairAB, "id-c", pairAB()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			from := tc.from()
			assert.Equal(t, tc.want, from.Verified(tc.id, pairNow))
			assert.Equal(t, tc.from(), from, "the receiver")
		})
	}
}

func TestPairPrintsNoSecret(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		assert.NotContains(t, fmt.Sprintf(verb, pairAB()), "fake-", verb)
		assert.NotContains(t, fmt.Sprintf(verb, pairWrite("client_secret=fake-a1")), "fake-", verb)
	}
}

// TestPairWalk takes thousands of random steps and checks, after each, what must
// always be true of a pair. The seed is fixed: a failure repeats.
func TestPairWalk(t *testing.T) {
	t.Parallel()
	for seed := range int64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			w := &pairWalk{random: rand.New(rand.NewSource(seed)), now: pairNow, steps: map[string]int{}}
			for range 5000 {
				w.step(t)
			}
			for _, step := range []string{
				"change", "change refused", "change to the active place", "flip", "flip refused",
				"standby secret", "standby secret refused", "verified",
			} {
				assert.Greater(t, w.steps[step], 10, "the walk must come by %q", step)
			}
		})
	}
}

type pairWalk struct {
	random *rand.Rand
	now    time.Time
	pair   connection.Pair
	// steps counts what happened, by kind.
	steps map[string]int
}

// pick returns one of the values at random.
func (w *pairWalk) pick(values ...string) string { return values[w.random.Intn(len(values))] }

// write is a random configuration write. Half of its fields are left out.
func (w *pairWalk) write() []string {
	var fields []string
	for _, field := range []string{"client_id", "paired_client_id"} {
		if w.random.Intn(2) == 0 {
			fields = append(fields, field+"="+w.pick("", "id-a", "id-b", "id-c"))
		}
	}
	for _, field := range []string{"client_secret", "paired_client_secret"} {
		if w.random.Intn(2) == 0 {
			fields = append(fields, field+"="+w.pick("", "fake-1", "fake-2", "fake-3"))
		}
	}
	return fields
}

func (w *pairWalk) step(t *testing.T) {
	t.Helper()
	w.now = w.now.Add(time.Minute)
	before, was := w.pair, w.pair
	var did string
	var err error
	switch w.random.Intn(6) {
	case 0:
		did = "flip"
		w.pair, err = before.Flip()
		if err == nil {
			standby, _ := was.Standby()
			require.Equal(t, standby.ID, w.pair.Active().ID)
		}
	case 1:
		did = "standby secret"
		// Never empty: a rotation without a new secret does not come here.
		w.pair, err = before.WithStandbySecret(connection.NewSecret(w.pick("fake-1", "fake-2", "fake-3")), w.now)
		require.Equal(t, was.Active(), w.pair.Active(), did)
	case 2:
		did = "verified"
		w.pair = before.Verified(w.pick("id-a", "id-b", "id-c"), w.now)
	default:
		did = "change"
		fields := w.write()
		write := pairWrite(fields...)
		w.pair, err = before.Change(write, w.now)
		if err == nil {
			w.checkChange(t, was, write, fmt.Sprint(was, " with ", fields))
		} else {
			var refused *connection.InputError
			require.ErrorAs(t, err, &refused)
			require.NotContains(t, err.Error(), "fake-")
		}
	}
	require.Equal(t, was, before, "%s: the receiver", did)
	if err != nil {
		require.Equal(t, was, w.pair, "%s was refused", did)
		if did != "change" {
			require.ErrorIs(t, err, connection.ErrNoPair)
		}
		did += " refused"
	}
	w.steps[did]++

	if w.pair == (connection.Pair{}) {
		return // not configured yet
	}
	require.Contains(t, []connection.Slot{connection.First, connection.Paired}, w.pair.ActiveSlot, did)
	require.NotEmpty(t, w.pair.Active().ID, "%s: the active place is filled", did)
	require.NotEmpty(t, w.pair.Clients[connection.First].ID, "%s: there is a first client", did)
	require.NotEqual(t, w.pair.Clients[connection.First].ID, w.pair.Clients[connection.Paired].ID, did)
	for _, client := range w.pair.Clients {
		if client.ID == "" {
			require.Equal(t, noClient, client, "%s: an empty place is empty", did)
			continue
		}
		require.False(t, client.Secret.IsEmpty(), "%s: %s has a secret", did, client.ID)
		require.False(t, client.SecretSetTime.IsZero(), "%s: %s's secret was set once", did, client.ID)
		if !client.VerifiedTime.IsZero() {
			require.False(t, client.VerifiedTime.Before(client.SecretSetTime), "%s: %s was verified with its secret", did, client.ID)
		}
	}
}

// checkChange checks what a write that was not refused may have done.
func (w *pairWalk) checkChange(t *testing.T, was connection.Pair, write connection.PairChange, did string) {
	t.Helper()
	old := map[string]connection.Client{}
	for _, client := range was.Clients {
		old[client.ID] = client
	}
	for slot, client := range w.pair.Clients {
		if id := write.IDs[slot]; id != nil {
			require.Equal(t, *id, client.ID, "%s: the id is where the write put it", did)
		} else {
			require.Equal(t, was.Clients[slot].ID, client.ID, "%s: an unsaid id stays", did)
		}
		if client.ID == "" {
			continue
		}
		kept, known := old[client.ID]
		switch given := write.Secrets[slot]; {
		case known && (given == nil || *given == kept.Secret):
			require.Equal(t, kept, client, "%s: a client keeps its record wherever it goes", did)
		default:
			require.NotNil(t, given, "%s: a new client's secret was given", did)
			require.Equal(t, connection.Client{ID: client.ID, Secret: *given, SecretSetTime: w.now}, client, did)
		}
	}
	active := was.Active().ID
	switch {
	case active == "":
		require.Equal(t, connection.First, w.pair.ActiveSlot, did)
	case w.pair.Clients[0].ID == active, w.pair.Clients[1].ID == active:
		require.Equal(t, active, w.pair.Active().ID, "%s: only Flip changes the active client", did)
	default:
		require.Equal(t, was.ActiveSlot, w.pair.ActiveSlot, "%s: the place stays active", did)
		w.steps["change to the active place"]++
	}
}
