package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// allowed are the licences that may be in the plugin (SPDX identifiers).
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}

// checkLicences is an error that names each component with another licence.
func checkLicences(all []*component) error {
	var failed error
	for _, c := range all {
		for _, l := range c.licences {
			if !slices.Contains(allowed, l) {
				failed = errors.Join(failed, fmt.Errorf("%s: the licence %s is not one of %s", c, l, strings.Join(allowed, ", ")))
			}
		}
	}
	return failed
}

const licencesHead = `%s contains the Go modules that are named here, each above its licence.
Their source is where their names say, and at any Go module proxy.
`

// writeLicences writes every licence text once, under the names of those that it
// is the licence of.
func writeLicences(o options, all []*component) error {
	owners := map[string][]string{}
	var texts []string
	for _, c := range all {
		for _, text := range c.texts {
			if owners[text] == nil {
				texts = append(texts, text)
			}
			name := fmt.Sprintf("%s (%s)", c, strings.Join(c.licences, ", "))
			owners[text] = append(owners[text], name)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, licencesHead, filepath.Base(o.binary))
	for _, text := range texts {
		rule := strings.Repeat("-", 80)
		fmt.Fprintf(&b, "\n%s\n%s\n%s\n\n%s\n", rule, strings.Join(slices.Compact(owners[text]), "\n"), rule, strings.TrimSpace(text))
	}
	return os.WriteFile(o.binary+".licenses.txt", []byte(b.String()), 0o644) //nolint:gosec // for everybody
}
