// Command inventory says what is in a Go program: it reads the modules from the
// binary, finds their licences in the source, and writes two files beside it, an
// SBOM (CycloneDX) and the texts of the licences. A licence that is not allowed,
// or none, is an error. Run it in the module that the binary was built from. The
// same binary, version and date give the same bytes.
package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/klog/v2"
)

func main() {
	var o options
	flag.BoolVar(&o.check, "check", false, "look at the licences and write nothing")
	flag.StringVar(&o.version, "version", "", "the program's `version`, for the SBOM")
	flag.StringVar(&o.date, "date", "", "the SBOM's `time`, RFC 3339")
	flag.Parse()
	o.binary = flag.Arg(0)
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "inventory:", err)
		os.Exit(1)
	}
}

type options struct {
	binary, version, date string
	check                 bool
}

func run(ctx context.Context, o options) error {
	if o.binary == "" {
		return errors.New("name one binary")
	}
	info, err := buildinfo.ReadFile(o.binary)
	if err != nil {
		return err
	}
	// go-licenses warns of each package with assembly.
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	all, err := components(ctx, info)
	if err != nil {
		return err
	}
	all[0].version = o.version
	if err := checkLicences(all); err != nil {
		return err
	}
	fmt.Printf("%s: %d modules: %s\n", o.binary, len(all), strings.Join(summary(all), ", "))
	if o.check {
		return nil
	}
	if err := writeLicences(o, all); err != nil {
		return err
	}
	return writeSBOM(o, all)
}
