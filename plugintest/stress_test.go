package plugintest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// departure is a rotation as its answer told of it.
type departure struct {
	client                string
	left, regenerateAfter time.Time
}

// served is a token as a reader got it.
type served struct {
	client           string
	fetched, expires time.Time
}

// Readers, rotations, config writes, restarts, a storage and a GBG with moods,
// and a clock that does not wait for anybody.
func TestStress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			readers  = 64
			ticks    = 2000
			lifetime = 20 * time.Second
		)
		w := newWorld(t, worldOptions{lifetime: lifetime})
		w.dice = seededDice()
		w.restart()
		pair := w.pair()
		w.write("config", with(pair, fields{"request_timeout": 5}))

		var (
			current atomic.Pointer[mount]
			done    atomic.Bool
			all     sync.WaitGroup

			mu         sync.Mutex
			departures []departure
			tokens     = map[string]served{}
			last       = map[string]time.Time{} // when each client last left
			wrong      = map[string]int{}
			counts     = map[string]int{}
			secrets    = map[string]string{clientA: pair["client_secret"].(string), clientB: pair["paired_client_secret"].(string)}
		)
		current.Store(w.mount)
		note := func(into map[string]int, what string) {
			mu.Lock()
			defer mu.Unlock()
			into[what]++
		}

		reader := func() {
			mu.Lock()
			left := map[string]time.Time{clientA: last[clientA], clientB: last[clientB]}
			mu.Unlock()
			began := time.Now()
			a := current.Load().handle(t.Context(), &logical.Request{Operation: logical.ReadOperation, Path: "creds", Storage: w.storage})
			var coded logical.HTTPCodedError
			switch {
			case errors.As(a.err, &coded):
				w.heard.note(a)
				note(counts, "failed reads")
				if code := coded.Code(); code != http.StatusBadGateway && code != http.StatusServiceUnavailable {
					note(wrong, a.err.Error())
				}
				return
			case a.err != nil && strings.Contains(a.err.Error(), errDisk.Error()):
				note(counts, "failed reads")
				return // a failover that could not be stored
			case a.err != nil:
				note(wrong, a.err.Error())
				return
			case a.resp.IsError():
				note(wrong, a.resp.Error().Error())
				return
			}
			access := a.resp.Data["access_token"].(string)
			fetched, err := time.Parse(time.RFC3339Nano, a.resp.Data["last_vault_rotation"].(string))
			if err != nil {
				note(wrong, err.Error())
				return
			}
			got := served{client: a.resp.Data["client_id"].(string), fetched: fetched, expires: fetched.Add(lifetime)}
			owner, _ := w.sim.TokenClient(access)
			switch {
			case owner != got.client:
				note(wrong, "a token of "+owner+" for one of "+got.client)
			case !began.Before(got.expires):
				note(wrong, "a token that had ended before it was asked for")
			case !w.live(access) && time.Now().Before(got.expires):
				note(wrong, "a token that GBG does not take")
			case got.fetched.Before(left[got.client]):
				note(wrong, "a token of a client that had left")
			}
			mu.Lock()
			defer mu.Unlock()
			counts["reads"]++
			tokens[access] = got
		}

		// Whoever changes something may be refused it, but not in another way.
		write := func(what, path string, data fields) *logical.Response {
			a := current.Load().send(t.Context(), logical.UpdateOperation, path, data)
			var coded logical.HTTPCodedError
			switch {
			case a.err == nil && !a.resp.IsError():
				note(counts, what)
				return a.resp
			case a.err == nil, errors.As(a.err, &coded), errors.Is(a.err, errDisk), errors.Is(a.err, context.Canceled):
			default:
				note(wrong, what+": "+a.err.Error())
			}
			note(counts, what+" refused")
			return nil
		}
		regenerate := func(client string) {
			secret, err := w.sim.Regenerate(client)
			if err != nil {
				note(wrong, err.Error())
			}
			mu.Lock()
			defer mu.Unlock()
			secrets[client] = secret
		}
		secretOf := func(client string) string {
			mu.Lock()
			defer mu.Unlock()
			return secrets[client]
		}
		rotate := func(dice *rand.Rand) {
			client := []string{clientA, clientB}[dice.IntN(2)]
			data := fields{"client_id": client}
			if dice.IntN(12) == 0 {
				regenerate(client)
				data["client_secret"] = secretOf(client)
			}
			resp := write("rotations", "rotate", data)
			if resp == nil || resp.Data["rotated"] != true {
				return
			}
			d := departure{client: resp.Data["standby_client_id"].(string)}
			var errs [2]error
			d.left, errs[0] = time.Parse(time.RFC3339, resp.Data["rotation_time"].(string))
			d.regenerateAfter, errs[1] = time.Parse(time.RFC3339, resp.Data["regenerate_after"].(string))
			if err := errors.Join(errs[:]...); err != nil {
				note(wrong, err.Error())
				return
			}
			mu.Lock()
			defer mu.Unlock()
			departures = append(departures, d)
			if d.left.After(last[d.client]) {
				last[d.client] = d.left
			}
		}
		configure := func(dice *rand.Rand) {
			if dice.IntN(2) == 0 { // mend what has been left behind
				write("config writes", "config", fields{
					"client_secret": secretOf(clientA), "paired_client_secret": secretOf(clientB), "verify_connection": dice.IntN(2) > 0,
				})
				return
			}
			write("config writes", "config", []fields{
				{},
				{"refresh_before": 1 + dice.IntN(10)},
				{"request_timeout": 1 + dice.IntN(10)},
				{"failover": dice.IntN(8) > 0},
				{"scope": []string{"gbg.token", "gbg.token gbg.token"}[dice.IntN(2)]},
				{"max_secret_age": dice.IntN(2)},
			}[dice.IntN(6)])
		}
		trouble := func(dice *rand.Rand) {
			switch dice.IntN(9) {
			case 8:
				regenerate([]string{clientA, clientB}[dice.IntN(2)])
			case 0:
				w.storage.refuse([]string{"token/", "connection/", ""}[dice.IntN(3)], errDisk)
			case 1, 2:
				w.storage.takeWrites()
			case 3, 4:
				w.sim.ClearFaults()
			default:
				fault := []gbgsim.Fault{
					statusFault(500), statusFault(429),
					{Kind: gbgsim.FaultClose},
					{Kind: gbgsim.FaultReset},
					{Kind: gbgsim.FaultTruncate},
					{Kind: gbgsim.FaultHang},
					refusalOf(""), refusalOf(""), refusalOf(""),
				}[dice.IntN(9)]
				fault.ClientID = []string{clientA, clientB, ""}[dice.IntN(3)]
				fault.Requests = 1 + dice.IntN(3)
				if err := w.sim.SetFault(fault); err != nil {
					note(wrong, err.Error())
				}
			}
		}

		// A reader reads once per tick of the clock, unless it still waits; whoever
		// does something else does it now and then.
		var tick atomic.Pointer[chan struct{}]
		tick.Store(new(make(chan struct{})))
		for range readers {
			all.Go(func() {
				for !done.Load() {
					next := *tick.Load()
					reader()
					<-next
				}
			})
		}
		clock := rand.New(rand.NewPCG(1, 0))
		ticked := make([]chan struct{}, 0, 5)
		often := func(seed uint64, one int, do func(*rand.Rand)) {
			tick := make(chan struct{}, 1)
			ticked = append(ticked, tick)
			dice := rand.New(rand.NewPCG(seed, 0))
			all.Go(func() {
				for range tick {
					if dice.IntN(one) == 0 {
						do(dice)
					}
				}
			})
		}
		often(2, 15, rotate)
		often(3, 10, configure)
		often(4, 5, trouble)
		often(5, 40, func(dice *rand.Rand) {
			if dice.IntN(2) == 0 {
				current.Load().backend.InvalidateKey(t.Context(), []string{connectionKey, tokenKey}[dice.IntN(2)])
				return
			}
			current.Load().backend.Cleanup(t.Context())
			current.Store(w.newMount())
			note(counts, "restarts")
		})
		often(6, 20, func(*rand.Rand) {
			for path, operation := range map[string]logical.Operation{"metrics": logical.ReadOperation, "status/": logical.ListOperation} {
				a := current.Load().handle(t.Context(), &logical.Request{Operation: operation, Path: path, Storage: w.storage})
				if a.err != nil || a.resp.IsError() {
					note(wrong, fmt.Sprint(path, a.err))
				}
				note(counts, "looks at all connections")
			}
		})
		for range ticks {
			w.pass(time.Duration(clock.IntN(1000)) * time.Millisecond)
			for _, tick := range ticked {
				select {
				case tick <- struct{}{}:
				default: // still at it
				}
			}
			close(*tick.Swap(new(make(chan struct{}))))
		}
		for _, tick := range ticked {
			close(tick)
		}
		done.Store(true)
		close(*tick.Load())
		w.sim.ClearFaults()
		w.storage.takeWrites()
		finished := make(chan answer, 1)
		go func() { all.Wait(); finished <- answer{} }()
		<-finished
		w.mount = current.Load()

		assert.Empty(t, wrong)
		for _, d := range departures {
			for _, got := range tokens {
				if got.client == d.client && got.fetched.Before(d.left) {
					assert.False(t, got.expires.After(d.regenerateAfter), "%+v, of %+v", got, d)
				}
			}
		}
		t.Logf("%s: %v, %d tokens served, %d failovers, %+v", time.Since(start).Round(time.Second), counts, len(tokens),
			strings.Count(w.heard.log.String(), "failed over"), w.sim.Stats().TokenRequests)

		// The secrets may be any by now. Once they are right all is well.
		a, _ := w.tryTimed(logical.UpdateOperation, "config", fields{
			"client_secret": w.regenerate(clientA), "paired_client_secret": w.regenerate(clientB),
			"scope": "gbg.token", "request_timeout": 10,
		})
		w.ok(a)
		synctest.Wait()
		active := w.read("config")["active_client_id"].(string)
		got := w.read("creds")
		assert.Equal(t, active, w.owner(got["access_token"]))
		assert.True(t, w.live(got["access_token"]))
		w.mustBeWhole(active)
		assert.Equal(t, without(got, "ttl"), without(w.read("creds"), "ttl"))
		w.rotateToStandby()
		w.rotateToStandby()
		w.mustBeWhole(active)
	})
}
