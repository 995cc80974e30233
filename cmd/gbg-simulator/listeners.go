package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"gbg.example/vault-plugin-secrets-gbg/internal/gbgsim"
)

// listeners are the listeners of the command. Without HTTPS, secure is nil.
type listeners struct {
	plain, secure net.Listener
}

// listen opens the listeners and writes the file with the CA certificate. If it
// fails, it closes the listeners.
func listen(simulator *gbgsim.Simulator, settings config) (listeners, error) {
	var opened listeners
	var err error
	if opened.plain, err = gbgsim.Listen(settings.listen); err != nil {
		return listeners{}, err
	}
	if settings.tlsListen != "" {
		if opened.secure, err = simulator.ListenTLS(settings.tlsListen); err != nil {
			opened.close()

			return listeners{}, err
		}
	}
	if settings.caFile != "" {
		if err := writeCA(simulator, settings.caFile); err != nil {
			opened.close()

			return listeners{}, err
		}
	}

	return opened, nil
}

func writeCA(simulator *gbgsim.Simulator, file string) error {
	caPEM, err := simulator.CAPEM()
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, caPEM, 0o600); err != nil {
		return fmt.Errorf("writing the CA certificate: %w", err)
	}

	return nil
}

// serve serves until ctx is done or a listener fails, which also stops the other.
func (l listeners) serve(ctx context.Context, simulator *gbgsim.Simulator) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	opened := l.opened()
	ended := make(chan error, len(opened))
	for _, listener := range opened {
		go func() { ended <- simulator.Serve(ctx, listener) }()
	}
	errs := make([]error, 0, len(opened))
	for range opened {
		errs = append(errs, <-ended)
		cancel()
	}

	return errors.Join(errs...)
}

func (l listeners) close() {
	for _, listener := range l.opened() {
		_ = listener.Close()
	}
}

func (l listeners) opened() []net.Listener {
	if l.secure == nil {
		return []net.Listener{l.plain}
	}

	return []net.Listener{l.plain, l.secure}
}

// urls returns the URLs in the order of the output.
func (l listeners) urls() []string {
	urls := []string{"http://" + l.plain.Addr().String()}
	if l.secure != nil {
		urls = append(urls, "https://"+l.secure.Addr().String())
	}

	return urls
}
