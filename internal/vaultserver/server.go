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

// Options are the settings of a server.
type Options struct {
	// Binary is the path of the vault executable.
	Binary string
	// PluginDir is the plugin directory. Vault requires a path without symbolic
	// links.
	PluginDir string
	// DataDir is the directory for integrated storage (raft), which survives
	// restarts. Empty means a development server with in-memory storage.
	DataDir string
	// Env is added to this process's environment.
	Env []string
	// Log receives the server's output; nil discards it.
	Log io.Writer
}

// Server is a running Vault server.
type Server struct {
	options Options
	port    int
	// clusterPort is the port of the cluster address.
	clusterPort int
	// node is the node id in the cluster.
	node string
	// inCluster is true if the server is a node of a cluster and may become a
	// standby.
	inCluster bool
	token     string
	keys      []string
	process   *exec.Cmd
	exited    chan struct{}
}

// Start starts a server and waits until it is active. The caller must call Stop.
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

// Address returns the server's URL, for VAULT_ADDR.
func (s *Server) Address() string { return fmt.Sprintf("http://127.0.0.1:%d", s.port) }

// PluginDir returns the plugin directory.
func (s *Server) PluginDir() string { return s.options.PluginDir }

// Token returns the root token.
func (s *Server) Token() string { return s.token }

// Client returns an API client with a token. An empty token means the root token.
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

// Restart stops a server with a DataDir and starts it again with the same data.
func (s *Server) Restart(ctx context.Context) error {
	if s.options.DataDir == "" {
		return errors.New("a development server cannot be restarted: it loses its data")
	}
	if err := s.Stop(); err != nil {
		return err
	}
	return s.StartAgain(ctx)
}

// StartAgain starts a stopped or killed server with a DataDir with the same data. It
// waits until the server is active, or unsealed if it is a node of a cluster.
func (s *Server) StartAgain(ctx context.Context) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	return s.Unseal(ctx)
}

// Unseal unseals a sealed server with a DataDir. It waits until the server is active, or
// unsealed if it is a node of a cluster.
func (s *Server) Unseal(ctx context.Context) error {
	if err := s.unseal(ctx); err != nil {
		return err
	}
	if s.inCluster {
		return s.waitUnsealed(ctx)
	}
	return s.waitActive(ctx)
}

// Kill kills the server and its plugins without a graceful shutdown, like a power
// failure.
func (s *Server) Kill() error {
	if err := s.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-s.exited
	s.process = nil
	return nil
}

// Pause suspends the processes of the server and its plugins until Resume. To
// clients, it looks like a host that is unreachable.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume continues the processes that Pause suspended.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	if s.process == nil {
		return errors.New("the Vault server is not running")
	}
	return syscall.Kill(-s.process.Process.Pid, sig)
}

// Stop stops the server and its plugins and waits for the server to exit. It does
// nothing if the server is not running.
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
	// Kill the rest of the process group: a server that did not stop in time, or a
	// plugin that is still running.
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
	// The process must outlive ctx: Stop stops it gracefully.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.options.Binary, args...)
	cmd.Env = append(os.Environ(), s.options.Env...)
	cmd.Stdout, cmd.Stderr = s.options.Log, s.options.Log
	// In its own process group, the server does not get the SIGINT of a Ctrl-C: the
	// parent process gets it and stops the server.
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
		return fmt.Errorf("initializing Vault: %w", err)
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

// waitListening waits until the API responds.
func (s *Server) waitListening(ctx context.Context) error {
	return s.poll(ctx, "respond", func(h *api.HealthResponse) bool { return h != nil })
}

// waitUnsealed waits until the server is unsealed, active or not.
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
			return fmt.Errorf("the Vault server exited before it did %s: %s", what, s.process.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("the Vault server did not %s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(pollInterval):
		}
	}
}

// freePort returns a free port. If another process takes it before the server
// listens, the start of the server fails. The port is below the ephemeral ports of
// Linux (32768 and above), so no outgoing connection takes it while the server is
// stopped for a restart.
func freePort() (int, error) {
	const lowest, highest, tries = 20000, 32767, 100
	var last error
	for range tries {
		port := lowest + mathrand.IntN(highest-lowest+1) //nolint:gosec // a port need not be unpredictable
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
		last = err
	}
	return 0, fmt.Errorf("no free port: %w", last)
}
