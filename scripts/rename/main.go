// Command rename changes the path of this repository's module: in go.mod and in the
// other modules that belong to it, in imports and in every text that names it. See make
// rename-module.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	root := flag.String("root", ".", "the `directory` of the repository")
	path := flag.String("module", "", "the new module `path`")
	flag.Parse()
	if err := run(*root, *path); err != nil {
		fmt.Fprintln(os.Stderr, "rename-module:", err)
		os.Exit(1)
	}
}

func run(root, path string) error {
	old, err := modulePath(root)
	if err != nil {
		return err
	}
	changed, err := rename(root, old, path)
	if err != nil {
		return err
	}
	fmt.Printf("%s is %s now: %d files changed.\n", old, path, changed)
	return nil
}
