// Command image makes the container image of a release from the binaries and SBOMs in
// dist, as an OCI layout, without a container engine. It also pushes a layout to a
// registry. The same files, version, revision and date make the same digests.
//
//	image build -version 0.2.0 -revision COMMIT -date 2026-01-02T03:04:05Z DIST LAYOUT
//	image push LAYOUT registry.example.com/name
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "build":
			return runBuild(args[1:])
		case "push":
			return runPush(ctx, args[1:])
		}
	}
	return errors.New("usage: image build|push")
}

func runBuild(args []string) error {
	var r release
	flags := flag.NewFlagSet("image build", flag.ContinueOnError)
	flags.StringVar(&r.version, "version", "", "the release's `version`, without a v")
	flags.StringVar(&r.revision, "revision", "", "the release's `commit`")
	flags.StringVar(&r.licence, "licence", "LICENSE", "the `file` with the plugin's licence")
	date := flags.String("date", "", "the `time` of the commit, RFC 3339")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 2 || r.version == "" || r.revision == "" {
		return errors.New("usage: image build -version VERSION -revision COMMIT -date TIME DIST LAYOUT")
	}
	var err error
	if r.date, err = time.Parse(time.RFC3339, *date); err != nil {
		return fmt.Errorf("-date: %w", err)
	}
	r.dist = flags.Arg(0)
	digest, err := r.writeLayout(flags.Arg(1))
	if err != nil {
		return err
	}
	fmt.Printf("%s: image %s\n", flags.Arg(1), digest)
	return nil
}

func runPush(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: image push LAYOUT REGISTRY/NAME")
	}
	tags, err := push(ctx, args[0], args[1])
	for _, tag := range tags {
		fmt.Println("pushed", tag)
	}
	return err
}
