// Package client gets GBG access tokens from the GBG secrets engine of Vault or OpenBao,
// for programs that call GBG's API.
//
// A [TokenSource] reads a creds path and keeps the token. It reads again when the
// engine has a newer token, in the background: a caller waits for Vault
// only when there is no valid token at all. While Vault is unavailable, callers get the
// current token as long as it is valid.
//
// A [Transport] adds the token to the requests of an [net/http.Client]. If GBG's API
// refuses the token (401), it gets a newer one and repeats the request once.
//
// A TokenSource is an [oauth2.TokenSource]. Do not wrap it in [oauth2.ReuseTokenSource]
// or [oauth2.NewClient]: they keep a token until shortly before it expires, and so would
// not notice a newer one. [oauth2.Transport] works, without the repetition after a 401.
package client
