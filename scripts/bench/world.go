package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/vault/api"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// paths are the executables that the benchmarks need.
type paths struct {
	vault, plugin, last, floor, hey string
}

// maxIdleConns is the maximum number of idle connections to Vault. More than coldReaders.
const maxIdleConns = 256

// world is a running Vault server and a folder to work in.
type world struct {
	paths
	dir    string
	vault  *vaultserver.Server
	log    *os.File
	client *api.Client
	http   *http.Client
}

func startWorld(ctx context.Context, p paths) (w *world, err error) {
	w = &world{paths: p, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: maxIdleConns}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.stop())
		}
	}()
	for _, path := range []*string{&w.paths.vault, &w.plugin, &w.last, &w.floor, &w.hey} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return w, err
		}
		if _, err = os.Stat(*path); err != nil {
			return w, fmt.Errorf("%w (make bench builds what is needed)", err)
		}
	}
	if w.dir, err = os.MkdirTemp("", "gbg-bench-"); err != nil {
		return w, err
	}
	// Vault refuses a plugin folder behind a symbolic link.
	if w.dir, err = filepath.EvalSymlinks(w.dir); err != nil {
		return w, err
	}
	if err = os.Mkdir(w.pluginDir(), 0o700); err != nil {
		return w, err
	}
	if w.log, err = os.Create(filepath.Join(w.dir, "vault.log")); err != nil {
		return w, err
	}
	progress("starting Vault")
	w.vault, err = vaultserver.Start(ctx, vaultserver.Options{
		Binary: w.paths.vault, PluginDir: w.pluginDir(), Log: w.log, Env: []string{"HOME=" + w.dir},
	})
	if err != nil {
		return w, fmt.Errorf("%w\n%s", err, w.logTail())
	}
	w.client, err = w.vault.Client("")
	return w, err
}

func (w *world) pluginDir() string { return filepath.Join(w.dir, "plugins") }

// logTail returns the end of what Vault has logged.
func (w *world) logTail() string {
	const lines = 15
	content, err := os.ReadFile(w.log.Name())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(all[max(len(all)-lines, 0):], "\n")
}

// stop ends Vault and its plugins and removes the folder.
func (w *world) stop() error {
	var errs []error
	w.http.CloseIdleConnections()
	if w.vault != nil {
		errs = append(errs, w.vault.Stop())
	}
	if w.log != nil {
		errs = append(errs, w.log.Close())
	}
	if w.dir != "" {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

// mount is a plugin process of its own with one mount.
type mount struct {
	w    *world
	name string
	// executable is the plugin's, a copy that no other mount runs.
	executable string
}

// mount copies a plugin, registers and mounts it under a name. Vault starts a
// process for each name.
func (w *world) mount(ctx context.Context, name, plugin string) (*mount, error) {
	m := &mount{w: w, name: name, executable: filepath.Join(w.pluginDir(), name)}
	if err := copyExecutable(plugin, m.executable); err != nil {
		return nil, err
	}
	sum, err := vaultserver.SHA256(m.executable)
	if err != nil {
		return nil, err
	}
	err = w.client.Sys().RegisterPluginWithContext(ctx, &api.RegisterPluginInput{
		Name: name, Type: api.PluginTypeSecrets, Command: name, SHA256: sum,
	})
	if err != nil {
		return nil, fmt.Errorf("registering %s: %w", name, err)
	}
	return m, w.client.Sys().MountWithContext(ctx, name, &api.MountInput{Type: name})
}

// unmount ends what a part has measured, and the plugins' processes with it, so
// that it cannot disturb the next.
func (w *world) unmount(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := w.client.Sys().UnmountWithContext(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (m *mount) write(ctx context.Context, path string, data map[string]any) error {
	_, err := m.w.client.Logical().WriteWithContext(ctx, m.name+"/"+path, data)
	return err
}

// configure writes a connection with a pair of clients, without a request to GBG.
func (m *mount) configure(ctx context.Context, g *gbg, connection string) error {
	active, standby := m.name+"-"+connection+"-a", m.name+"-"+connection+"-b"
	secret, err := g.newClient(active)
	if err != nil {
		return err
	}
	standbySecret, err := g.newClient(standby)
	if err != nil {
		return err
	}
	return m.write(ctx, "config/"+connection, map[string]any{
		"token_url":            g.tokenURL(),
		"client_id":            active,
		"client_secret":        secret,
		"paired_client_id":     standby,
		"paired_client_secret": standbySecret,
		"verify_connection":    false,
	})
}

// use configures a connection and reads it once.
func (m *mount) use(ctx context.Context, g *gbg, connection string) error {
	if err := m.configure(ctx, g, connection); err != nil {
		return err
	}
	_, err := m.creds(ctx, connection)
	return err
}

// reload restarts the plugin's process.
func (m *mount) reload(ctx context.Context) error {
	_, err := m.w.client.Sys().ReloadPluginWithContext(ctx, &api.ReloadPluginInput{Plugin: m.name})
	return err
}

// url is where a path of the mount is read.
func (m *mount) url(path string) string { return m.w.url(m.name + "/" + path) }

func (w *world) url(path string) string { return w.vault.Address() + "/v1/" + path }

// get reads a URL and returns the whole answer.
func (w *world) get(ctx context.Context, url string) ([]byte, error) {
	return w.request(ctx, http.MethodGet, url)
}

// request sends a request without a body and returns the whole answer.
func (w *world) request(ctx context.Context, method, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Token", w.vault.Token())
	resp, err := w.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return body, err
}

// credential is what the benchmarks look at in an answer of creds.
type credential struct {
	Data struct {
		AccessToken    string `json:"access_token"`
		RotationPeriod int    `json:"rotation_period"`
		TTL            int    `json:"ttl"`
	} `json:"data"`
}

// creds reads a token.
func (m *mount) creds(ctx context.Context, connection string) (credential, error) {
	var c credential
	body, err := m.w.get(ctx, m.url("creds/"+connection))
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(body, &c)
}

func copyExecutable(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o700) //nolint:gosec // Vault must be able to run it
}
