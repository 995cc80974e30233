// Package vaultserver runs a real Vault server process on loopback, for the
// demo and the end-to-end tests.
package vaultserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 15 * time.Second
	pollInterval = 50 * time.Millisecond
)

// Options are what a server is started with.
type Options struct {
	// Binary is the path of the vault executable.
	Binary string
	// PluginDir is where the server looks for plugins. It must be a real path,
	// without symbolic links: Vault insists.
	PluginDir string
	// DataDir makes the server keep its data in this folder, with integrated
	// storage (raft), and survive restarts. Empty makes it a development server
	// in memory.
	DataDir string
	// Env is added to this process's environment.
	Env []string
	// Log receives what the server prints; nil discards it.
	Log io.Writer
}

// Server is a running Vault, unsealed.
type Server struct {
	options Options
	port    int
	// clusterPort is where the nodes of a cluster talk to each other.
	clusterPort int
	// node is the node's id in its cluster.
	node string
	// inCluster says that the server is one of several, any of which may be the
	// active one.
	inCluster bool
	token      string
	keys       []string
	process    *exec.Cmd
	exited     chan struct{}
}

// Start starts a server and waits until it serves. Stop ends it.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := newServer(o, "node-1")
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	if o.DataDir != "" {
		if err := s.initialize(ctx); err != nil {
			return nil, errors.Join(err, s.Stop())
		}
	}
	if err := s.waitActive(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func newServer(o Options, node string) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	clusterPort, err := freePort()
	if err != nil {
		return nil, err
	}
	return &Server{options: o, port: port, clusterPort: clusterPort, node: node, token: "root-" + rand.Text()}, nil
}

// Address is the server's URL, as VAULT_ADDR wants it.
func (s *Server) Address() string { return fmt.Sprintf("http://127.0.0.1:%d", s.port) }

// PluginDir is where the server looks for plugins.
func (s *Server) PluginDir() string { return s.options.PluginDir }

// Token is the root token.
func (s *Server) Token() string { return s.token }

// Client gives an API client with a token; empty is the root token.
func (s *Server) Client(token string) (*api.Client, error) {
	config := api.DefaultConfig()
	if config.Error != nil {
		return nil, config.Error
	}
	config.Address = s.Address()
	config.MaxRetries = 0
	client, err := api.NewClient(config)
	if err != nil {
		return nil, err
	}
	if token == "" {
		token = s.token
	}
	client.SetToken(token)
	return client, nil
}

// Restart stops a server with a DataDir and starts it again on the same data.
func (s *Server) Restart(ctx context.Context) error {
	if s.options.DataDir == "" {
		return errors.New("a development server loses its data in a restart")
	}
	if err := s.Stop(); err != nil {
		return err
	}
	return s.StartAgain(ctx)
}

// StartAgain starts a server with a DataDir that was stopped or killed on the
// same data, and waits until it serves.
func (s *Server) StartAgain(ctx context.Context) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	if err := s.unseal(ctx); err != nil {
		return err
	}
	if s.inCluster {
		return s.waitUnsealed(ctx)
	}
	return s.waitActive(ctx)
}

// Kill ends the server and its plugins at once, as a power cut does: they get no
// chance to tidy up.
func (s *Server) Kill() error {
	if err := s.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-s.exited
	s.process = nil
	return nil
}

// Pause stops the server's and its plugins' execution until Thaw: to others it
// looks like a machine that has gone from the network.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume ends what Freeze began.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	if s.process == nil {
		return errors.New("the Vault server does not run")
	}
	return syscall.Kill(-s.process.Process.Pid, sig)
}

// Stop ends the server and the plugins it started, and waits for them. Stopping
// twice is no error.
func (s *Server) Stop() error {
	if s.process == nil {
		return nil
	}
	group := -s.process.Process.Pid
	_ = s.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
	}
	// Whatever is left of the process group: a server that hangs, or a plugin
	// that outlived it.
	_ = syscall.Kill(group, syscall.SIGKILL)
	<-s.exited
	s.process = nil
	return nil
}

func (s *Server) start(ctx context.Context) error {
	args := []string{
		"server", "-dev", "-dev-no-store-token",
		fmt.Sprintf("-dev-listen-address=127.0.0.1:%d", s.port),
		"-dev-root-token-id=" + s.token,
		"-dev-plugin-dir=" + s.options.PluginDir, "-dev-plugin-init=false",
	}
	if s.options.DataDir != "" {
		config, err := s.writeConfig()
		if err != nil {
			return err
		}
		args = []string{"server", "-config=" + config}
	}
	// The process must outlive ctx: Stop ends it, in order.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.options.Binary, args...)
	cmd.Env = append(os.Environ(), s.options.Env...)
	cmd.Stdout, cmd.Stderr = s.options.Log, s.options.Log
	// A group of its own: a Ctrl-C reaches the one who started it, who stops it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting Vault: %w", err)
	}
	s.process, s.exited = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(s.exited)
	}()
	if err := s.waitListening(ctx); err != nil {
		return errors.Join(err, s.Stop())
	}
	return nil
}

func (s *Server) writeConfig() (path string, err error) {
	data := filepath.Join(s.options.DataDir, "raft")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return "", err
	}
	config := fmt.Sprintf(`
storage "raft" {
  path                   = %q
  node_id                = %q
  performance_multiplier = 1
}
listener "tcp" {
  address         = "127.0.0.1:%d"
  cluster_address = "127.0.0.1:%d"
  tls_disable     = true
}
api_addr         = %q
cluster_addr     = "https://127.0.0.1:%d"
plugin_directory = %q
disable_mlock    = true
`, data, s.node, s.port, s.clusterPort, s.Address(), s.clusterPort, s.options.PluginDir)
	path = filepath.Join(s.options.DataDir, "vault.hcl")
	return path, os.WriteFile(path, []byte(config), 0o600)
}

func (s *Server) initialize(ctx context.Context) error {
	client, err := s.Client("")
	if err != nil {
		return err
	}
	init, err := client.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return fmt.Errorf("initialising Vault: %w", err)
	}
	s.token, s.keys = init.RootToken, init.Keys
	return s.unseal(ctx)
}

func (s *Server) unseal(ctx context.Context) error {
	client, err := s.Client("")
	if err != nil {
		return err
	}
	for _, key := range s.keys {
		if _, err := client.Sys().UnsealWithContext(ctx, key); err != nil {
			return fmt.Errorf("unsealing Vault: %w", err)
		}
	}
	return nil
}

// waitListening waits until the API answers at all.
func (s *Server) waitListening(ctx context.Context) error {
	return s.poll(ctx, "answer", func(h *api.HealthResponse) bool { return h != nil })
}

// waitUnsealed waits until the server is a part of its cluster.
func (s *Server) waitUnsealed(ctx context.Context) error {
	return s.poll(ctx, "become unsealed", func(h *api.HealthResponse) bool {
		return h != nil && h.Initialized && !h.Sealed
	})
}

// waitActive waits until the server is unsealed and active.
func (s *Server) waitActive(ctx context.Context) error {
	return s.poll(ctx, "become active", func(h *api.HealthResponse) bool {
		return h != nil && h.Initialized && !h.Sealed && !h.Standby
	})
}

func (s *Server) poll(ctx context.Context, what string, ready func(*api.HealthResponse) bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client, err := s.Client("")
	if err != nil {
		return err
	}
	for {
		health, err := client.Sys().HealthWithContext(ctx)
		if err == nil && ready(health) {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("the Vault server ended before it did %s: %s", what, s.process.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("the Vault server did not %s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(pollInterval):
		}
	}
}

// freePort finds a port that nobody listens on. Between this and the server's
// own listening somebody may take it: then the server's start fails and says so.
// It is below those that Linux gives to outgoing connections (32768 and up), so
// that no client takes the port of a server that is away for a moment.
func freePort() (int, error) {
	const lowest, highest, tries = 20000, 32767, 100
	var last error
	for range tries {
		port := lowest + mathrand.IntN(highest-lowest+1) //nolint:gosec // a port is no secret
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
		last = err
	}
	return 0, fmt.Errorf("no free port: %w", last)
}
