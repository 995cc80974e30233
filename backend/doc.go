// Package backend implements the engine behind the paths: connections to GBG, their
// client pairs and tokens, and how they are stored. It uses Vault's storage and logger,
// and is independent of paths and requests.
//
// The entry point is Engine. Everything that its methods return is a copy: changing
// it does not affect the engine.
package backend
