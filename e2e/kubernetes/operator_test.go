package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/vault-secrets-operator/api/v1beta1"
	"github.com/hashicorp/vault-secrets-operator/controllers"
	"github.com/hashicorp/vault-secrets-operator/helpers"
	"github.com/hashicorp/vault-secrets-operator/vault"
	"github.com/hashicorp/vault/api"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// cluster is an API server's objects and a running Vault Secrets Operator.
type cluster struct {
	*world
	scheme   *runtime.Scheme
	objects  client.Client
	operator *controllers.VaultDynamicSecretReconciler
	secret   *v1beta1.VaultDynamicSecret // as in the example
}

// newCluster applies examples, to which change may do something before.
func newCluster(t *testing.T, w *world, change func(*v1beta1.VaultDynamicSecret), files ...string) *cluster {
	t.Helper()
	c := &cluster{world: w, scheme: newScheme(t)}
	var all []client.Object
	for _, file := range files {
		all = append(all, objects(t, c.scheme, file)...)
	}
	// The last one of a kind and name counts, as with kubectl apply.
	applied := map[string]client.Object{}
	for _, o := range all {
		applied[fmt.Sprintf("%T %s", o, o.GetName())] = o
	}
	all = slices.Collect(maps.Values(applied))
	for _, o := range all {
		o.SetUID(uuid.NewUUID())
		o.SetGeneration(1)
	}
	object[*v1beta1.VaultConnection](t, all).Spec.Address = w.vault.Address()
	c.secret = object[*v1beta1.VaultDynamicSecret](t, all)
	c.secret.Spec.RenewalPercent = 67 // the schema's default
	if change != nil {
		change(c.secret)
	}
	c.objects = fake.NewClientBuilder().WithScheme(c.scheme).WithObjects(all...).WithStatusSubresource(c.secret).
		WithInterceptorFuncs(interceptor.Funcs{SubResourceCreate: c.createToken}).Build()
	c.restartOperator()
	return c
}

// createToken answers a request for a service account's token.
func (c *cluster) createToken(_ context.Context, _ client.Client, _ string, o, sub client.Object, _ ...client.SubResourceCreateOption) (err error) {
	request := sub.(*authenticationv1.TokenRequest)
	request.Status.Token, err = c.serviceAccountToken(o.GetNamespace(), o.GetName(), request.Spec.Audiences)
	return err
}

// restartOperator starts an operator without memory of the one before.
func (c *cluster) restartOperator() {
	c.t.Helper()
	// Nothing is asked of this API server: the manager is never started.
	manager, err := ctrl.NewManager(&rest.Config{Host: "http://127.0.0.1:1"}, ctrl.Options{
		Scheme: c.scheme, Metrics: server.Options{BindAddress: "0"},
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return c.objects.RESTMapper(), nil },
	})
	require.NoError(c.t, err)
	recorder := record.NewFakeRecorder(1000)
	config := vault.DefaultCachingClientFactoryConfig()
	config.Recorder, config.MetricsRegistry = recorder, prometheus.NewRegistry()
	factory, err := vault.InitCachingClientFactory(c.t.Context(), c.objects, config)
	require.NoError(c.t, err)
	c.operator = &controllers.VaultDynamicSecretReconciler{
		Client: c.objects, SecretsClient: c.objects, Scheme: c.scheme, Recorder: recorder, ClientFactory: factory,
		HMACValidator: helpers.NewHMACValidator(config.StorageConfig.HMACSecretObjKey),
		SyncRegistry:  controllers.NewSyncRegistry(), BackOffRegistry: controllers.NewBackOffRegistry(),
		GlobalTransformationOptions: &helpers.GlobalTransformationOptions{},
	}
	require.NoError(c.t, c.operator.SetupWithManager(manager, controller.Options{SkipNameValidation: new(true)}))
}

// reconcile has the operator look after the VaultDynamicSecret, and gives when it
// will come back.
func (c *cluster) reconcile() time.Duration {
	c.t.Helper()
	result, err := c.operator.Reconcile(c.t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(c.secret)})
	require.NoError(c.t, err)
	for recorder := c.operator.Recorder.(*record.FakeRecorder); len(recorder.Events) > 0; {
		require.NotContains(c.t, <-recorder.Events, corev1.EventTypeWarning)
	}
	return result.RequeueAfter
}

// status is what the operator noted.
func (c *cluster) status() v1beta1.VaultDynamicSecretStatus {
	c.t.Helper()
	var o v1beta1.VaultDynamicSecret
	require.NoError(c.t, c.objects.Get(c.t.Context(), client.ObjectKeyFromObject(c.secret), &o))
	return o.Status
}

// written is the Secret that the operator wrote.
func (c *cluster) written() *corev1.Secret {
	c.t.Helper()
	var s corev1.Secret
	require.NoError(c.t, c.objects.Get(c.t.Context(), client.ObjectKey{Namespace: namespace, Name: c.secret.Spec.Destination.Name}, &s))
	return &s
}

// restarted is the mark of the last restart of the example's Deployment.
func (c *cluster) restarted() string {
	c.t.Helper()
	var d appsv1.Deployment
	require.NoError(c.t, c.objects.Get(c.t.Context(), client.ObjectKey{Namespace: namespace, Name: "app"}, &d))
	return d.Spec.Template.Annotations[helpers.AnnotationRestartedAt]
}

// The operator takes the answer for a static credential, comes back when ttl has
// passed, and writes the Secret once for each token, whatever restarts between.
func TestSecretsOperator(t *testing.T) {
	t.Run("the token alone, as in the example", func(t *testing.T) {
		testSecretsOperator(t, func(*v1beta1.VaultDynamicSecret) {}, "token", "token")
	})
	// All but the keys that the operator knows to differ, so that it compares the
	// others.
	t.Run("the whole answer", func(t *testing.T) {
		testSecretsOperator(t, func(s *v1beta1.VaultDynamicSecret) {
			s.Spec.Destination.Transformation = v1beta1.Transformation{
				ExcludeRaw: true, Excludes: []string{"^ttl$", "^rotation_period$", "^last_vault_rotation$"},
			}
		}, "access_token", "access_token", "client_id", "connection", "expire_time", "scope", "token_type")
	})
}

// testSecretsOperator changes the example's VaultDynamicSecret first. The Secret
// holds the token under tokenKey, and has these keys.
func testSecretsOperator(t *testing.T, change func(*v1beta1.VaultDynamicSecret), tokenKey string, keys ...string) {
	t.Helper()
	w := newWorld(t, t.TempDir())
	c := newCluster(t, w, func(s *v1beta1.VaultDynamicSecret) {
		change(s)
		s.Spec.RolloutRestartTargets = []v1beta1.RolloutRestartTarget{{Kind: "Deployment", Name: "app"}}
	}, "vault-secrets-operator.yaml")

	requireNext := func(next time.Duration) {
		t.Helper()
		ttl := time.Duration(c.status().StaticCredsMetaData.TTL) * time.Second
		require.Positive(t, ttl)
		require.Greater(t, next, ttl, "not before there is a new token")
		require.Less(t, next, ttl+time.Second)
	}
	requireNext(c.reconcile())
	first, answer, restarted := c.written(), w.creds(), c.restarted()
	require.Equal(t, keys, slices.Sorted(maps.Keys(first.Data)))
	require.Equal(t, answer["access_token"], string(first.Data[tokenKey]))
	w.requireLive(string(first.Data[tokenKey]))
	lastRotation, err := time.Parse(time.RFC3339Nano, answer["last_vault_rotation"].(string))
	require.NoError(t, err)
	require.Equal(t, lastRotation.Unix(), c.status().StaticCredsMetaData.LastVaultRotation)
	require.Equal(t, int64(3300), c.status().StaticCredsMetaData.RotationPeriod)

	for _, event := range []struct {
		name string
		do   func()
	}{
		{"nothing", func() {}},
		{"the operator is restarted", c.restartOperator},
		{"the plugin is reloaded", func() {
			_, err := w.client.Sys().ReloadPluginWithContext(t.Context(), &api.ReloadPluginInput{Plugin: vaultserver.PluginName})
			require.NoError(t, err)
		}},
		{"Vault is restarted", func() { require.NoError(t, w.vault.Restart(t.Context())) }},
		{"GBG is down and Vault is restarted", func() {
			w.gbgIsDown()
			require.NoError(t, w.vault.Restart(t.Context()))
		}},
	} {
		event.do()
		c.operator.SyncRegistry.Add(client.ObjectKeyFromObject(c.secret)) // a read that it would not do by itself
		c.reconcile()
		require.Equal(t, first.ResourceVersion, c.written().ResourceVersion, "%s: the Secret is not touched", event.name)
		require.Equal(t, restarted, c.restarted(), "%s: nor the application", event.name)
		again := w.creds()
		delete(again, "ttl")
		delete(answer, "ttl")
		require.Equal(t, answer, again, event.name)
	}
	w.gbgIsUp()

	// A new token.
	w.write("gbg/rotate/team-a", nil)
	requireNext(c.reconcile())
	second := c.written()
	assert.NotEqual(t, first.Data[tokenKey], second.Data[tokenKey])
	assert.Equal(t, w.creds()["access_token"], string(second.Data[tokenKey]))
	w.requireLive(string(second.Data[tokenKey]))
}

// A weakness of the operator that docs/kubernetes.md names: when it reads the
// same token again in the middle of a period, it takes the ttl of the first read
// for the time that is left.
func TestSecretsOperatorForgetsTheTimeThatHasPassed(t *testing.T) {
	w := newWorld(t, "")
	c := newCluster(t, w, nil, "vault-secrets-operator.yaml")
	c.reconcile()
	var o v1beta1.VaultDynamicSecret
	require.NoError(t, c.objects.Get(t.Context(), client.ObjectKeyFromObject(c.secret), &o))
	const first = 100_000 // seconds, as if the first read had been that much earlier
	o.Status.StaticCredsMetaData.TTL = first
	require.NoError(t, c.objects.Status().Update(t.Context(), &o))

	c.restartOperator()
	next := c.reconcile()
	assert.Greater(t, next, first*time.Second, "the operator learns the new ttl now: take the advice out of docs/kubernetes.md")

	// The advice: without the Secret it writes it again and learns the time.
	require.NoError(t, c.objects.Delete(t.Context(), c.written()))
	assert.Less(t, c.reconcile(), first*time.Second)
	assert.Equal(t, w.creds()["access_token"], string(c.written().Data["token"]))
}

// On a clock of its own it has no such weakness: it comes back within
// refreshAfter, and what it writes for the same token is the same.
func TestSecretsOperatorPolling(t *testing.T) {
	w := newWorld(t, "")
	c := newCluster(t, w, nil, "vault-secrets-operator.yaml", "vault-secrets-operator-polling.yaml")
	require.False(t, c.secret.Spec.AllowStaticCreds, "the second file's")
	refreshAfter, err := time.ParseDuration(c.secret.Spec.RefreshAfter)
	require.NoError(t, err)
	for range 3 {
		next := c.reconcile()
		require.Positive(t, next)
		require.LessOrEqual(t, next, refreshAfter)
		require.Equal(t, map[string][]byte{"token": []byte(w.creds()["access_token"].(string))}, c.written().Data)
		c.restartOperator()
	}
	w.write("gbg/rotate/team-a", nil)
	c.reconcile()
	require.Equal(t, w.creds()["access_token"], string(c.written().Data["token"]))
}
