package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// tour walks through what the plugin is for, one step after another.
func (w *world) tour(ctx context.Context) error {
	register, enable, configure, err := w.install()
	if err != nil {
		return err
	}
	w.step("Install the plugin",
		w.server.Product+" runs only plugins with a registered checksum.")
	if err := w.run(ctx, register...); err != nil {
		return err
	}
	if err := w.run(ctx, enable...); err != nil {
		return err
	}

	w.step("Configure a connection with two API clients",
		"Their secrets were copied from GBG's portal to two files. The engine gets a token",
		"with each client before it stores anything, so a typo fails here.")
	if err := w.run(ctx, configure...); err != nil {
		return err
	}
	if err := w.run(ctx, "read", "gbg/config"); err != nil {
		return err
	}

	w.step("Read an access token",
		"An application does only this. All readers share one token. A newer token is",
		"available after ttl seconds.")
	if err := w.run(ctx, "read", "gbg/creds"); err != nil {
		return err
	}

	w.step("Call GBG with it")
	w.command(`curl -H "Authorization: Bearer $(` + w.cli() + ` read -field=access_token gbg/creds)" ` + w.gbg + "/api/check")
	if err := w.callGBG(ctx); err != nil {
		return err
	}

	w.step("Rotate, while 8 readers read tokens and call GBG with them",
		"The standby's secret is regenerated in GBG's portal (here, in the simulator). The",
		"old secret stops working at once. Then one command makes this client active.")
	if err := w.rotateUnderLoad(ctx); err != nil {
		return err
	}

	if err := w.verify(ctx); err != nil {
		return err
	}

	w.step("Read the status of the connection",
		"For operators without the right to change it. It has no secret and no token.")
	if err := w.run(ctx, "read", "gbg/status"); err != nil {
		return err
	}
	if err := w.users(ctx); err != nil {
		return err
	}
	if err := w.identity(ctx); err != nil {
		return err
	}

	fmt.Fprintf(w.file, "\n   %sThe demo is complete.%s To keep the setup running: make dev\n", w.bold, w.none)
	return nil
}

// run shows a command of the server's command line, runs it, and shows its output.
func (w *world) run(ctx context.Context, args ...string) error {
	w.command(typed(w.cli(), args))
	out, err := w.vaultCLI(ctx, args...)
	if err != nil {
		return err
	}
	w.output(out)
	return nil
}

// typed is a command as a person would type it, broken where it is long.
func typed(command string, args []string) string {
	const width = 76
	line, total := command, ""
	for _, arg := range args {
		if len(line)+len(arg) > width {
			total += line + " \\\n     "
			line = "   "
		}
		line += " " + arg
	}
	return total + line
}

// callGBG calls the simulator's protected endpoint with the current token.
func (w *world) callGBG(ctx context.Context) error {
	token, err := w.vaultCLI(ctx, "read", "-field=access_token", "gbg/creds")
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.gbg+"/api/check", http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	return w.show(req)
}

// show does a request to the simulator and shows the answer.
func (w *world) show(req *http.Request) error {
	body, err := do(req)
	if err != nil {
		return err
	}
	w.output(string(body))
	return nil
}

func do(req *http.Request) ([]byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", req.Method, req.URL, resp.Status, body)
	}
	return body, err
}

// regenerate replaces a client's secret at the simulator, and its file here.
func (w *world) regenerate(ctx context.Context, clientID string) error {
	url := w.gbg + "/portal/clients/" + clientID + "/regenerate"
	w.command("curl -X POST " + url + "   # at GBG: Clients > ... > Regenerate Secret")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		return err
	}
	body, err := do(req)
	if err != nil {
		return err
	}
	var client struct {
		Secret string `json:"client_secret"`
	}
	if err := json.Unmarshal(body, &client); err != nil {
		return err
	}
	w.say("(saved the new secret to %s.secret)", clientID)
	return w.writeSecret(clientID, client.Secret)
}

func (w *world) rotateUnderLoad(ctx context.Context) error {
	load, err := startLoad(ctx, w.vault, w.gbg, 8)
	if err != nil {
		return err
	}
	defer load.stop()
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	if err := w.regenerate(ctx, clientB); err != nil {
		return err
	}
	if err := w.run(ctx, "write", "gbg/rotate", "client_id="+clientB, "client_secret=@"+clientB+".secret"); err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	r := load.stop()
	fmt.Fprintf(w.file, "\n   %s%d reads of gbg/creds: %d failed. %d calls of GBG: %d refused.%s\n",
		w.bold, r.reads, r.failed, r.calls, r.refused, w.none)
	w.say("Tokens of %s: %d, of %s: %d.", clientA, r.byClient[clientA], clientB, r.byClient[clientB])
	if r.failed+r.refused > 0 || r.byClient[clientA] == 0 || r.byClient[clientB] == 0 {
		return fmt.Errorf("readers were affected by the rotation: %s", r.firstError)
	}
	return nil
}

// pause lets the readers read for a while, for the person who watches.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// nextCommands is what stayUp prints, with Vault's names.
const nextCommands = `
In another terminal:

export VAULT_ADDR=%s VAULT_TOKEN=%s
export PATH="%s:$PATH" GBG=%s
cd %s

Then try:

vault read gbg/creds
curl -H "Authorization: Bearer $(vault read -field=access_token gbg/creds)" $GBG/api/check
curl -X POST $GBG/portal/clients/%s/regenerate      # copy the secret
(umask 077; cat > new.secret)                       # paste it, then Enter and Ctrl-D
vault write gbg/rotate client_id=%[6]s client_secret=@new.secret
vault read gbg/status
vault list -detailed gbg/status
vault read gbg/creds/users                          # an account with API users
curl -X PUT -d '{}' $GBG/portal/users/%[8]s/password   # copy the password
vault write gbg/rotate/users username=%[8]s password=PASSWORD
vault read gbg/creds/identity                       # GBG Identity Solution, with an identity provider
curl -d '{"subject":"alice"}' $GBG/idp/login        # a person signs on: copy the id_token
(umask 077; cat > id.token)                         # paste it, then Enter and Ctrl-D
vault write gbg/creds/identity id_token=@id.token
vault path-help gbg
curl $GBG/                                          # other functions of the simulator

The server's log is %[7]s. Press Ctrl-C to stop everything.
`

// stayUp installs and configures without a word, then waits for Ctrl-C.
func (w *world) stayUp(ctx context.Context) error {
	register, enable, configure, err := w.install()
	if err != nil {
		return err
	}
	if err := w.createUsers(ctx); err != nil {
		return err
	}
	for _, args := range [][]string{register, enable, configure, w.configureUsers(), w.configureIdentity()} {
		if _, err := w.vaultCLI(ctx, args...); err != nil {
			return err
		}
	}
	fmt.Fprintf(w.file, w.withOwnNames(nextCommands),
		w.vault.Address(), w.vault.Token(), filepath.Dir(w.server.Path), w.gbg, w.dir, clientB, w.vaultLog.Name(), userB)
	<-ctx.Done()
	fmt.Fprintln(w.file, "\nStopping the server and the simulator.")
	return nil
}
