// Package backend is the engine behind the paths: connections to GBG, their
// client pairs, the tokens they give, and how all of it is stored. It knows
// Vault's storage and logger; it knows no paths and no requests.
//
// The way in is Engine. Everything that it hands out is a value; nothing that a
// caller does to it reaches the engine.
package backend
