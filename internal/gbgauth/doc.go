// Package gbgauth asks an OAuth 2.0 token endpoint for an access token, the way
// GBG documents it, and tells apart everything that can come back: a token, a
// refusal of the client, another refusal, no usable answer.
//
// It keeps nothing, retries nothing and knows no Vault.
package gbgauth
