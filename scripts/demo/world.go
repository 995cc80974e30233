package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/internal/vaultserver"
)

// The clients that the demo creates: two at its GBG, two at its identity
// provider.
const (
	clientA = "go-api-a"
	clientB = "go-api-b"
	idpA    = "idp-a"
	idpB    = "idp-b"
)

// simulatorStopTimeout is how long the simulator may take to end by itself.
const simulatorStopTimeout = 5 * time.Second

// parts are the executables that the demo is made of.
type parts struct {
	vault, plugins, simulator string
}

// world is a running Vault, a running simulator, and a folder to work in.
type world struct {
	*screen
	parts     parts
	server    vaultserver.Binary
	dir       string
	vault     *vaultserver.Server
	vaultLog  *os.File
	simulator *exec.Cmd
	gbg       string // the simulator's address
}

func startWorld(ctx context.Context, p parts, out *screen) (w *world, err error) {
	w = &world{screen: out, parts: p}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.stop())
		}
	}()
	if w.server, err = vaultserver.FindBinary(ctx, p.vault); err != nil {
		return w, fmt.Errorf("%w (make vault builds a server)", err)
	}
	for _, path := range []*string{&w.parts.plugins, &w.parts.simulator} {
		if *path, err = filepath.Abs(*path); err != nil {
			return w, err
		}
		// Vault refuses a plugin folder behind a symbolic link.
		if *path, err = filepath.EvalSymlinks(*path); err != nil {
			return w, fmt.Errorf("%w (run make build first)", err)
		}
	}
	if w.dir, err = os.MkdirTemp("", "gbg-demo-"); err != nil {
		return w, err
	}
	out.say("Starting %s and a simulated GBG on loopback ...", w.server)
	if err = w.startSimulator(ctx); err != nil {
		return w, err
	}
	if w.vaultLog, err = os.Create(filepath.Join(w.dir, "vault.log")); err != nil {
		return w, err
	}
	w.vault, err = vaultserver.Start(ctx, vaultserver.Options{
		Binary: w.server.Path, PluginDir: w.parts.plugins, Log: w.vaultLog,
		Env: []string{"HOME=" + w.dir},
	})
	if err != nil {
		return w, fmt.Errorf("%w\n%s", err, w.tail(w.vaultLog.Name()))
	}
	out.say("%s: %s, simulated GBG: %s", w.server.Product, w.vault.Address(), w.gbg)
	return w, nil
}

// startSimulator starts it on a free port with the clients, and keeps their
// secrets in files, as a person would who has just copied them from the portal.
func (w *world) startSimulator(ctx context.Context) error {
	// It must outlive ctx: stop ends it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), w.parts.simulator, "-listen", "127.0.0.1:0", "-token-lifetime", "5m",
		"-client", clientA+":onboarding", "-client", clientB+":onboarding", "-idp-client", idpA, "-idp-client", idpB)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the simulator: %w", err)
	}
	w.simulator = cmd
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		return errors.New("the simulator did not print its address")
	}
	w.gbg = strings.TrimPrefix(lines.Text(), "listening on ")
	for range 4 {
		var client struct {
			ID     string `json:"client_id"`
			Secret string `json:"client_secret"`
		}
		if !lines.Scan() {
			return errors.New("the simulator did not print its clients")
		}
		if err := json.Unmarshal(lines.Bytes(), &client); err != nil {
			return fmt.Errorf("parsing a client printed by the simulator: %w", err)
		}
		if err := w.writeSecret(client.ID, client.Secret); err != nil {
			return err
		}
	}
	return nil
}

// writeSecret puts a client's secret into ID.secret.
func (w *world) writeSecret(clientID, secret string) error {
	return os.WriteFile(filepath.Join(w.dir, clientID+".secret"), []byte(secret+"\n"), 0o600)
}

func (w *world) tokenURL() string { return w.gbg + "/as/token.oauth2" }

// configureIdentity is the command that configures machine-to-machine access to
// GBG Identity Solution.
func (w *world) configureIdentity() []string {
	return []string{
		"write", "gbg/config/identity", "grant_type=id_auth",
		"token_url=" + w.gbg + "/authenticate/v1/connect/token", "idp_token_url=" + w.gbg + "/idp/token",
		"client_id=" + idpA, "client_secret=@" + idpA + ".secret",
		"paired_client_id=" + idpB, "paired_client_secret=@" + idpB + ".secret",
	}
}

// cli returns the name of the server's command line: vault or bao.
func (w *world) cli() string { return filepath.Base(w.server.Path) }

// withOwnNames replaces Vault's command and variables in a text by those of the server.
func (w *world) withOwnNames(text string) string {
	prefix := "VAULT_"
	if w.server.Product == "OpenBao" {
		prefix = "BAO_"
	}
	return strings.NewReplacer("vault ", w.cli()+" ", "VAULT_", prefix).Replace(text)
}

// vaultCLI runs the server's command line, without showing it.
func (w *world) vaultCLI(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, w.server.Path, args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "HOME="+w.dir, "VAULT_ADDR="+w.vault.Address(), "VAULT_TOKEN="+w.vault.Token())
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", w.cli(), strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// install registers and mounts the plugin and configures both clients, and
// gives the commands to do so.
func (w *world) install() (register, enable, configure []string, err error) {
	sum, err := vaultserver.SHA256(filepath.Join(w.parts.plugins, vaultserver.PluginName))
	if err != nil {
		return nil, nil, nil, err
	}
	register = []string{"plugin", "register", "-sha256=" + sum, "secret", vaultserver.PluginName}
	enable = []string{"secrets", "enable", "-path=gbg", vaultserver.PluginName}
	configure = []string{
		"write", "gbg/config", "token_url=" + w.tokenURL(),
		"client_id=" + clientA, "client_secret=@" + clientA + ".secret",
		"paired_client_id=" + clientB, "paired_client_secret=@" + clientB + ".secret",
	}
	return register, enable, configure, nil
}

// stop ends both processes and removes the folder.
func (w *world) stop() error {
	var errs []error
	if w.vault != nil {
		errs = append(errs, w.vault.Stop())
		w.vault = nil
	}
	if w.simulator != nil {
		errs = append(errs, w.stopSimulator())
		w.simulator = nil
	}
	if w.vaultLog != nil {
		errs = append(errs, w.vaultLog.Close())
		w.vaultLog = nil
	}
	if w.dir != "" {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

func (w *world) stopSimulator() error {
	_ = w.simulator.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(simulatorStopTimeout, func() { _ = w.simulator.Process.Kill() })
	defer kill.Stop()
	return w.simulator.Wait()
}

// tail gives the end of a file, for the message about a server that failed.
func (w *world) tail(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	const lines = 15
	parts := bytes.Split(bytes.TrimSpace(content), []byte("\n"))
	if len(parts) > lines {
		parts = parts[len(parts)-lines:]
	}
	return string(bytes.Join(parts, []byte("\n")))
}
