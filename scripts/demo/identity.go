package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// identity shows GBG's other service, shortly.
func (w *world) identity(ctx context.Context) error {
	w.step("GBG Identity Solution: machine to machine",
		"Here the pair lives at your own identity provider. Each token takes two steps,",
		"one at the identity provider and one at GBG; all else is as above.")
	if err := w.run(ctx, w.configureIdentity()...); err != nil {
		return err
	}
	if err := w.run(ctx, "read", "gbg/creds/identity"); err != nil {
		return err
	}

	w.step("GBG Identity Solution: a person's own token",
		"Who has signed on at the identity provider exchanges the id_token from there.",
		"The answer is that caller's alone: neither kept nor shared.")
	if err := w.signOn(ctx); err != nil {
		return err
	}
	return w.run(ctx, "write", "gbg/creds/identity", "id_token=@token.jwt")
}

// signOn leaves a person's id_token in token.jwt.
func (w *world) signOn(ctx context.Context) error {
	const person = `{"subject":"alice"}`
	w.command("curl -d '" + person + "' " + w.gbg + "/idp/login   # a person signs on")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.gbg+"/idp/login", strings.NewReader(person))
	if err != nil {
		return err
	}
	body, err := do(req)
	if err != nil {
		return err
	}
	var answer struct {
		IDToken string `json:"id_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	w.say("(the id_token goes into token.jwt)")
	return os.WriteFile(filepath.Join(w.dir, "token.jwt"), []byte(answer.IDToken+"\n"), 0o600)
}
