package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// modulePath returns the path of the module in a directory.
func modulePath(root string) (string, error) {
	content, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return "", err
	}
	path := modfile.ModulePath(content)
	if path == "" {
		return "", errors.New("go.mod names no module")
	}
	return path, nil
}

// checkPath returns an error if path cannot replace old.
func checkPath(old, path string) error {
	if path == "" {
		return errors.New("set MODULE to the new path: make rename-module MODULE=github.com/example/vault-plugin-secrets-gbg")
	}
	if err := module.CheckPath(path); err != nil {
		var invalid *module.InvalidPathError
		if errors.As(err, &invalid) {
			err = invalid.Err
		}
		return fmt.Errorf("MODULE=%q is no module path that others can import: %w", path, err)
	}
	if path == old {
		return fmt.Errorf("the module is %s already", old)
	}
	return nil
}

// rename changes a module path in all files of a repository and returns the number of
// files that it changed. It changes nothing if the path is not valid.
func rename(root, old, path string) (changed int, err error) {
	if err := checkPath(old, path); err != nil {
		return 0, err
	}
	files, err := sources(root)
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return changed, err
		}
		renamed, err := renameIn(file, content, old, path)
		if err != nil {
			return changed, fmt.Errorf("%s: %w", file, err)
		}
		if bytes.Equal(content, renamed) {
			continue
		}
		info, err := os.Stat(file)
		if err != nil {
			return changed, err
		}
		if err := os.WriteFile(file, renamed, info.Mode().Perm()); err != nil { //nolint:gosec // the files of the repository
			return changed, err
		}
		changed++
	}
	return changed, nil
}

// renameIn returns the content of a file with another module path, formatted.
func renameIn(file string, content []byte, old, path string) ([]byte, error) {
	// A path that only begins like the old one is another module's.
	found := regexp.MustCompile(regexp.QuoteMeta(old) + `([^a-zA-Z0-9._~-]|\.?$|\.\s)`)
	renamed := found.ReplaceAll(content, []byte(path+"${1}"))
	if bytes.Equal(content, renamed) {
		return content, nil
	}
	switch {
	case filepath.Base(file) == "go.mod":
		parsed, err := modfile.Parse(file, renamed, nil)
		if err != nil {
			return nil, err
		}
		parsed.SortBlocks()
		return modfile.Format(parsed.Syntax), nil
	case filepath.Ext(file) == ".go":
		return format.Source(renamed)
	}
	return renamed, nil
}

// sources returns the text files of a repository: not git's, nor what make builds.
func sources(root string) (files []string, err error) {
	skip := map[string]bool{".git": true, "bin": true, "dist": true}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && filepath.Dir(path) == filepath.Clean(root) && skip[entry.Name()]:
			return fs.SkipDir
		case entry.Type().IsRegular():
			files = append(files, path)
		}
		return nil
	})
	return files, err
}
