package main

import (
	"context"
	"net/http"
	"strings"
)

// verify shows a check of both clients, and how it finds a client without its role.
func (w *world) verify(ctx context.Context) error {
	w.step("Check that GBG accepts both clients",
		"This changes nothing. The engine does the same with the standby once a day.")
	if err := w.run(ctx, "write", "-f", "-format=json", "gbg/verify"); err != nil {
		return err
	}

	w.step("Take the role of the standby away",
		"GBG still issues tokens to it, but its API would refuse them. If tokens are JWTs (a",
		"setting of the simulator), the engine compares their claims and warns.")
	if err := w.portal(ctx, "settings", `{"token_format":"jwt"}`); err != nil {
		return err
	}
	if err := w.portal(ctx, "clients/"+clientA+"/roles", `{"roles":[]}`); err != nil {
		return err
	}
	if err := w.run(ctx, "write", "-f", "gbg/verify"); err != nil {
		return err
	}
	return w.portal(ctx, "clients/"+clientA+"/roles", `{"roles":["Go API Access"]}`)
}

// portal shows a change in the simulator's portal, and makes it.
func (w *world) portal(ctx context.Context, path, body string) error {
	url := w.gbg + "/portal/" + path
	w.command("curl -X PUT -d '" + body + "' " + url)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	_, err = do(req)
	return err
}
