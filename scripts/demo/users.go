package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
)

// The API users that the demo creates at its GBG.
const (
	userA = "api-user-a"
	userB = "api-user-b"
)

// users shows an account with API users.
func (w *world) users(ctx context.Context) error {
	w.step("The password grant: accounts with API users",
		"Older GBG GO accounts have users with passwords, and one client for all of them.",
		"The pair is two users. Their temporary passwords have been changed.")
	if err := w.createUsers(ctx); err != nil {
		return err
	}
	if err := w.run(ctx, w.configureUsers()...); err != nil {
		return err
	}
	if err := w.run(ctx, "read", "gbg/creds/users"); err != nil {
		return err
	}
	w.command("curl -X PUT -d '{}' " + w.passwordURL(userB) + "   # a new password at GBG")
	if err := w.changePassword(ctx, userB); err != nil {
		return err
	}
	return w.run(ctx, "write", "gbg/rotate/users", "username="+userB, "password=@"+userB+".secret")
}

// createUsers creates both users at the simulator and changes their temporary passwords.
func (w *world) createUsers(ctx context.Context) error {
	for _, user := range []string{userA, userB} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.gbg+"/portal/users", strings.NewReader(`{"username":"`+user+`"}`))
		if err != nil {
			return err
		}
		if _, err := do(req); err != nil {
			return err
		}
		if err := w.changePassword(ctx, user); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) passwordURL(user string) string { return w.gbg + "/portal/users/" + user + "/password" }

// changePassword sets a new password of a user at the simulator, and writes it to its
// file here.
func (w *world) changePassword(ctx context.Context, user string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, w.passwordURL(user), strings.NewReader("{}"))
	if err != nil {
		return err
	}
	body, err := do(req)
	if err != nil {
		return err
	}
	var answer struct {
		Password string `json:"password"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	return w.writeSecret(user, answer.Password)
}

// configureUsers returns the command that configures the connection. Client A is the
// organization's.
func (w *world) configureUsers() []string {
	return []string{
		"write", "gbg/config/users", "grant_type=password", "token_url=" + w.tokenURL(),
		"client_id=" + clientA, "client_secret=@" + clientA + ".secret",
		"username=" + userA, "password=@" + userA + ".secret",
		"paired_username=" + userB, "paired_password=@" + userB + ".secret",
	}
}
