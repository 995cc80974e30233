// Package gbgauth requests access tokens from OAuth 2.0 token endpoints as GBG documents
// them, exchanges tokens of identity providers for tokens of GBG, and revokes tokens.
//
// Each request is sent once, and every failure is an [Error]. Its Kind tells whether the
// endpoint refused the client, refused the request, or did not respond as a token
// endpoint does. Callers decide about retries and about keeping tokens.
package gbgauth
