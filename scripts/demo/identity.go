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
		"The clients of this connection belong to an identity provider (here, the",
		"simulator). Each token takes two requests: one to the identity provider and one",
		"to GBG. The rest is as above.")
	if err := w.run(ctx, w.configureIdentity()...); err != nil {
		return err
	}
	if err := w.run(ctx, "read", "gbg/creds/identity"); err != nil {
		return err
	}

	w.step("GBG Identity Solution: exchange your own token",
		"A person who has signed on at the identity provider exchanges the id_token.",
		"Only this caller gets the answer: it is not stored or shared.")
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
	w.say("(saved the id_token to token.jwt)")
	return os.WriteFile(filepath.Join(w.dir, "token.jwt"), []byte(answer.IDToken+"\n"), 0o600)
}
