package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"gbg.example/vault-plugin-secrets-gbg/client"
)

// gbgURL is where the examples find GBG's API.
var gbgURL string

// TestMain starts a Vault and GBG's API for the examples.
func TestMain(m *testing.M) { os.Exit(withServers(m.Run)) }

func withServers(run func() int) int {
	vault := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := "fake-token-refused"
		if r.URL.Query().Has("newer_than") || r.URL.Path != "/v1/gbg/creds" {
			token = "fake-token"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{
			"access_token": token, "token_type": "Bearer", "client_id": "client-a", "ttl": 60,
			"expire_time": time.Now().Add(time.Hour), "last_vault_rotation": time.Now(),
		}})
	}))
	defer vault.Close()
	gbg := httptest.NewServer(&gbgAPI{refuses: map[string]bool{"fake-token-refused": true}})
	defer gbg.Close()
	gbgURL = gbg.URL
	_ = os.Setenv("VAULT_ADDR", vault.URL)
	return run()
}

// Call GBG's API with a token from Vault.
func Example() {
	// The configuration comes from VAULT_ADDR, VAULT_TOKEN and so on.
	vault, err := api.NewClient(nil)
	if err != nil {
		log.Fatal(err)
	}
	source, err := client.New(vault, "gbg/creds", client.WithLogger(slog.Default()))
	if err != nil {
		log.Fatal(err)
	}
	gbg := &http.Client{
		Transport: &client.Transport{Source: source},
		Timeout:   30 * time.Second,
	}

	resp, err := gbg.Get(gbgURL)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 200 OK
}

// Use the token without an http.Client, for example for a library that wants a header.
func ExampleTokenSource_TokenContext() {
	vault, err := api.NewClient(nil)
	if err != nil {
		log.Fatal(err)
	}
	source, err := client.New(vault, "gbg/creds/team-a")
	if err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	token, err := source.TokenContext(ctx)
	if err != nil {
		var answer *api.ResponseError
		if errors.As(err, &answer) {
			fmt.Println("Vault answered", answer.StatusCode)
		}
		return
	}
	fmt.Println(token.Type(), "token of", token.Extra("client_id"))
	// Output: Bearer token of client-a
}

// Replace a token that GBG's API has refused, where a Transport cannot be used.
func ExampleTokenSource_Renew() {
	vault, err := api.NewClient(nil)
	if err != nil {
		log.Fatal(err)
	}
	source, err := client.New(vault, "gbg/creds")
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	token, err := source.TokenContext(ctx)
	if err != nil {
		log.Fatal(err)
	}
	// GBG's API answered 401 to a request with this token.
	newer, err := source.Renew(ctx, token)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(newer.AccessToken != token.AccessToken)
	// Output: true
}
