// Package gbg is a secrets engine for HashiCorp Vault. It keeps GBG client
// secrets under config, serves short-lived GBG access tokens at creds, and
// rotates between two paired clients without downtime.
//
// This package implements the paths: each decodes a request, calls the engine in package
// backend once, and encodes the answer.
package gbg

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"

	"gbg.example/vault-plugin-secrets-gbg/backend"
	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
	"gbg.example/vault-plugin-secrets-gbg/internal/metrics"
)

// operationPrefix is the prefix of the operation ids in the OpenAPI document.
const operationPrefix = "gbg"

// Options configures a factory. The zero value is for production.
type Options struct {
	// Version is the plugin's running version as Vault shows it: "v" and a semantic
	// version. Empty means none.
	Version string
	// Now returns the current time; nil means time.Now. It is for tests of a wall
	// clock that is set: timers go by package time whatever it returns.
	Now func() time.Time
	// Random returns a number in [0, 1). It must be safe for concurrent use; nil means
	// math/rand/v2's Float64.
	Random func() float64
	// DialContext connects to a host and port; nil means a plain TCP dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// userAgent returns the User-Agent header of requests to GBG (RFC 9110 section 10.1.5).
func userAgent(version string) string {
	if version == "" {
		return gbgauth.DefaultUserAgent
	}
	return gbgauth.DefaultUserAgent + "/" + strings.TrimPrefix(version, "v")
}

// NewFactory returns the function that creates a mount's backend for Vault.
func NewFactory(o Options) logical.Factory {
	return func(ctx context.Context, config *logical.BackendConfig) (logical.Backend, error) {
		// A node that changes its role creates new backends, so this never changes.
		replication := config.System.ReplicationState()
		observer := observers{Metrics: metrics.New(o.Version), events: newEventBus(config.EventsSender, config.Logger)}
		engine := backend.New(backend.Options{
			Storage:     config.StorageView,
			Logger:      config.Logger,
			Now:         o.Now,
			Random:      o.Random,
			Observer:    observer,
			UserAgent:   userAgent(o.Version),
			DialContext: o.DialContext,
			MaxLeaseTTL: config.System.MaxLeaseTTL,
			ReadOnly:    replication.HasState(consts.ReplicationPerformanceStandby),
			Replicated:  !config.System.LocalMount() && replication.HasState(consts.ReplicationPerformancePrimary|consts.ReplicationPerformanceSecondary),
		})
		d := &handlers{engine: engine, metrics: observer.Metrics}
		b := d.framework(o.Version)
		b.Clean = func(context.Context) {
			engine.Close()
			observer.events.close()
		}
		b.InitializeFunc = func(context.Context, *logical.InitializationRequest) error {
			if writesConnections(config.System) {
				engine.StartBackground()
			}
			return nil
		}
		if err := b.Setup(ctx, config); err != nil {
			b.Clean(ctx)
			return nil, err
		}
		return gbgBackend{Backend: b, reads: d.reads()}, nil
	}
}

// writesConnections reports whether this node may write the mount's connections: the
// active node of the cluster that they belong to. A secondary of performance replication
// receives them from its primary, unless the mount is local.
func writesConnections(system logical.SystemView) bool {
	state := system.ReplicationState()
	switch {
	case state.HasState(consts.ReplicationPerformanceStandby | consts.ReplicationDRSecondary):
		return false
	case state.HasState(consts.ReplicationPerformanceSecondary):
		return system.LocalMount()
	}
	return true
}

// framework returns the framework's backend with the table of paths.
func (d *handlers) framework(version string) *framework.Backend {
	return &framework.Backend{
		BackendType:    logical.TypeLogical,
		RunningVersion: version,
		Help:           strings.TrimSpace(mountHelp),
		PathsSpecial: &logical.Paths{
			SealWrapStorage: []string{backend.SealWrapPrefix, backend.TokenPrefix, backend.RevocationPrefix},
			LocalStorage:    []string{backend.TokenPrefix, backend.RevocationPrefix},
		},
		Secrets: []*framework.Secret{d.tokenSecret()},
		Paths: framework.PathAppend(
			d.configPaths(),
			d.credsPaths(),
			d.rotatePaths(),
			d.keysPaths(),
			d.statusPaths(),
			d.verifyPaths(),
			[]*framework.Path{d.statusListPath(), d.metricsPath()},
		),
		PeriodicFunc: func(ctx context.Context, _ *logical.Request) error {
			if d.engine.ReadOnly() {
				return nil // the active node does this
			}
			return d.engine.RetryRevocations(ctx)
		},
		Invalidate: func(_ context.Context, key string) { d.engine.Invalidate(key) },
	}
}

// handlers implements the paths of one mount.
type handlers struct {
	engine  *backend.Engine
	metrics *metrics.Metrics
}

// observers implements backend.Observer for the metrics and the event bus.
type observers struct {
	*metrics.Metrics

	events *eventBus
}

// OnEvent implements backend.Observer.
func (o observers) OnEvent(ev backend.Event) {
	o.events.OnEvent(ev)
}

const mountHelp = `
The GBG secrets engine keeps the client secrets that GBG issued to you, and
hands out short-lived GBG access tokens.

A connection is an endpoint, a scope and a pair of API clients of which one is
active. The paths without a name are the connection "default"; add a name for
any other, and give a team a policy on its name.

  config    what a connection is: clients, secrets, endpoint, timing
  creds     an access token, shared by all readers, always valid
  rotate    make the standby client the active one, without downtime
  verify    check that GBG accepts both clients, changing nothing
  keys      the clients' public keys, if they have keys instead of secrets
  status    the state of a connection: no secret, no token
  metrics   all of them, for Prometheus

Begin with:

  $ vault write gbg/config client_id=ID client_secret=@secret-file
  $ vault read gbg/creds

See also "vault path-help gbg/config" and so on.
`
