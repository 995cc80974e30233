package gbgauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgauth"
)

func ExampleClientCredentials_Fetch() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("grant_type:", r.FormValue("grant_type"))
		_, _ = io.WriteString(w, `{"access_token":"fake-token","token_type":"Bearer","expires_in":3600}`)
	}))
	defer server.Close()
	client, err := gbgauth.NewClient(gbgauth.ClientOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}

	token, err := gbgauth.ClientCredentials{
		TokenURL:     server.URL + "/as/token.oauth2",
		ClientID:     "fake-client",
		ClientSecret: gbgauth.NewSecret("fake-secret"),
		Scope:        "gbg.token",
	}.Fetch(context.Background(), client)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.Type, token.AccessToken, token.Lifetime)
	fmt.Println(token.Type, token.AccessToken.Reveal())
	// Output:
	// grant_type: client_credentials
	// Bearer [redacted] 1h0m0s
	// Bearer fake-token
}

func ExampleError() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"invalid_client","error_description":"The secret is wrong."}`)
	}))
	defer server.Close()
	client, err := gbgauth.NewClient(gbgauth.ClientOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}

	_, err = gbgauth.ClientCredentials{TokenURL: server.URL}.Fetch(context.Background(), client)
	if e, ok := errors.AsType[*gbgauth.Error](err); ok {
		fmt.Println("kind:", e.Kind)
		fmt.Println("status:", e.Status)
		fmt.Println("code:", e.Code)
		fmt.Println("description:", e.Description)
		fmt.Println("retry:", e.Temporary())
	}
	// Output:
	// kind: client refused
	// status: 401
	// code: invalid_client
	// description: The secret is wrong.
	// retry: false
}
