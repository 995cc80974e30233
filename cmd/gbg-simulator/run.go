package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

const defaultTokenLifetime = 5 * time.Minute

type config struct {
	listen        string
	tlsListen     string // empty means no HTTPS
	caFile        string // empty means none
	tokenLifetime time.Duration
	clients       []gbgsim.NewClient
	idpClients    []string // ids
	trusted       []trustedIssuer
}

type trustedIssuer struct {
	issuer, jwksURL string
}

// credentials are the credentials of a client as printed.
type credentials struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Department   string `json:"department"`
	IDP          bool   `json:"idp,omitempty"` // of the identity provider, not of GBG GO
}

// run serves until ctx is done and then returns nil. It prints the help to stderr if
// requested. It returns errors and does not print them.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	settings, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}

	simulator := gbgsim.New(gbgsim.Options{})
	if err := simulator.SetTokenLifetime(settings.tokenLifetime); err != nil {
		return err
	}
	for _, trusted := range settings.trusted {
		if err := simulator.TrustIssuer(trusted.issuer, trusted.jwksURL); err != nil {
			return err
		}
	}
	created, err := createClients(simulator, settings)
	if err != nil {
		return err
	}

	listeners, err := listen(simulator, settings)
	if err != nil {
		return err
	}
	if err := printStartup(stdout, listeners, created); err != nil {
		listeners.close()

		return err
	}

	return listeners.serve(ctx, simulator)
}

// createClients creates the clients and returns their credentials in the order of
// the output.
func createClients(simulator *gbgsim.Simulator, settings config) ([]credentials, error) {
	created := make([]credentials, 0, len(settings.clients)+len(settings.idpClients))
	for _, request := range settings.clients {
		client, err := simulator.CreateClient(request)
		if err != nil {
			return nil, err
		}
		created = append(created, credentials{ClientID: client.ID, ClientSecret: client.Secret, Department: client.Department})
	}
	for _, id := range settings.idpClients {
		client, err := simulator.CreateIDPClient(id)
		if err != nil {
			return nil, fmt.Errorf("identity provider: %w", err)
		}
		created = append(created, credentials{ClientID: client.ID, ClientSecret: client.Secret, IDP: true})
	}

	return created, nil
}

// printStartup prints the URLs and the credentials.
func printStartup(stdout io.Writer, listeners listeners, clients []credentials) error {
	for _, url := range listeners.urls() {
		if _, err := fmt.Fprintf(stdout, "listening on %s\n", url); err != nil {
			return fmt.Errorf("printing the URL: %w", err)
		}
	}
	lines := json.NewEncoder(stdout)
	for _, client := range clients {
		if err := lines.Encode(client); err != nil {
			return fmt.Errorf("printing the credentials of client %q: %w", client.ClientID, err)
		}
	}

	return nil
}

func parse(args []string, stderr io.Writer) (config, error) {
	var parsed config
	flags := flag.NewFlagSet("gbg-simulator", flag.ContinueOnError)
	flags.StringVar(&parsed.listen, "listen", "127.0.0.1:8090", "loopback `address` to listen on; port 0 means any free port")
	flags.StringVar(&parsed.tlsListen, "tls-listen", "", "loopback `address` to listen on with HTTPS")
	flags.StringVar(&parsed.caFile, "ca-file", "", "`file` to write the CA certificate for HTTPS clients to (PEM)")
	flags.DurationVar(&parsed.tokenLifetime, "token-lifetime", defaultTokenLifetime, "how long GBG's tokens are valid, in whole seconds")
	flags.Func("client", "create a client `id[:department]` with the role "+gbgsim.RoleGoAPIAccess+"; may be repeated",
		func(value string) error {
			id, department, _ := strings.Cut(value, ":")
			if id == "" {
				return errors.New("the client id is missing")
			}
			parsed.clients = append(parsed.clients, gbgsim.NewClient{
				ID:         id,
				Department: department,
				Roles:      []string{gbgsim.RoleGoAPIAccess},
			})

			return nil
		})
	flags.Func("idp-client", "create a client `id` of the identity provider; may be repeated", func(id string) error {
		if id == "" {
			return errors.New("the client id is missing")
		}
		parsed.idpClients = append(parsed.idpClients, id)

		return nil
	})
	flags.Func("trust-issuer", "accept the JWTs of another `issuer=jwks-url` as id_tokens; may be repeated", func(value string) error {
		// An issuer has no query, a URL may have one (OpenID Connect Core 1.0, section 2).
		issuer, jwksURL, found := strings.Cut(value, "=")
		if !found {
			return errors.New("it does not have the form issuer=jwks-url")
		}
		parsed.trusted = append(parsed.trusted, trustedIssuer{issuer, jwksURL})

		return nil
	})

	// The caller prints errors, so the flag package must not.
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(stderr)
		flags.Usage()
	}
	if err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if parsed.caFile != "" && parsed.tlsListen == "" {
		return config{}, errors.New("-ca-file needs -tls-listen")
	}

	return parsed, nil
}
