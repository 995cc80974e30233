package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/licenseclassifier/v2/assets"
)

// newProgram makes a module of one program and builds it.
func newProgram(t *testing.T) options {
	t.Helper()
	t.Chdir(t.TempDir())
	write(t, "go.mod", "module example.test/program\n\ngo 1.26\n")
	write(t, "main.go", "package main\n\nfunc main() {}\n")
	binary := filepath.Join(t.TempDir(), "program")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return options{binary: binary, version: "v1.2.3", date: "2026-01-02T03:04:05Z"}
}

// license puts a licence's text into the module.
func license(t *testing.T, id string) {
	t.Helper()
	text, err := assets.ReadLicenseFile("License/" + id + "/license.txt")
	if err != nil {
		t.Fatal(err)
	}
	write(t, "LICENSE", string(text))
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBothFilesAndTheSameTwice(t *testing.T) {
	o := newProgram(t)
	license(t, "MPL-2.0")
	write(t, "NOTICE", "Made by somebody.\n")
	var first [2]string
	for i := range 2 {
		if err := run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		for j, file := range []string{o.binary + ".cdx.json", o.binary + ".licenses.txt"} {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first[j] = string(content)
			} else if first[j] != string(content) {
				t.Errorf("%s differs the second time", file)
			}
		}
	}
	for _, want := range []string{`"pkg:golang/example.test/program@v1.2.3"`, `"pkg:golang/std@`, `"MPL-2.0"`, o.date} {
		if !strings.Contains(first[0], want) {
			t.Errorf("the SBOM has no %s:\n%s", want, first[0])
		}
	}
	for _, want := range []string{"example.test/program v1.2.3 (MPL-2.0)", "Mozilla Public License", "Made by somebody.", "The Go Authors"} {
		if !strings.Contains(first[1], want) {
			t.Errorf("the licences have no %s", want)
		}
	}
}

func TestWhatIsNotAllowedFails(t *testing.T) {
	for id, want := range map[string]string{
		"AGPL-3.0": "example.test/program v1.2.3: the licence AGPL-3.0 is not one of Apache-2.0, BSD-2-Clause, BSD-3-Clause, ISC, MIT, MPL-2.0",
		"":         "example.test/program has no licence that could be recognised",
	} {
		o := newProgram(t)
		if id != "" {
			license(t, id)
		}
		err := run(t.Context(), o)
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v", id, err)
		}
		if _, err := os.Stat(o.binary + ".cdx.json"); !os.IsNotExist(err) {
			t.Errorf("%q: an SBOM was written all the same", id)
		}
	}
}

func TestBinaryOfOtherSource(t *testing.T) {
	o := newProgram(t)
	license(t, "MPL-2.0")
	write(t, "go.mod", "module example.test/other\n\ngo 1.26\n")
	if err := run(t.Context(), o); err == nil {
		t.Error("the source has no such program")
	}
}
