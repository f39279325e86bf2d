// Package laws keeps the rules of the house that a program can check: who may import whom, what a core may not touch, and
// how a package introduces itself. They run as plain tests, in seconds, and each breach says what to do about it.
package laws

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Module is the path of the module whose laws these are.
const Module = "github.com/pando-os/pando"

// The sizes from which a file or a package is too large to be read in one sitting. The aim is 600; this is the wall.
const (
	maxFileLines    = 700
	maxPackageLines = 4000
)

// File is one Go source file.
type File struct {
	Path  string // from the module's root, with slashes
	Lines int
	Tree  *ast.File
	Set   *token.FileSet
}

// Dir is the package directory of the file, "." for the root.
func (f *File) Dir() string { return path.Dir(f.Path) }

// Test says whether the file is compiled for tests alone.
func (f *File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Generated says whether the file was made by a program.
func (f *File) Generated() bool { return under(f.Path, "gen") || ast.IsGenerated(f.Tree) }

// Parse reads one source.
func Parse(name string, src []byte) (*File, error) { return parseIn(token.NewFileSet(), name, src) }

func parseIn(set *token.FileSet, name string, src []byte) (*File, error) {
	tree, err := parser.ParseFile(set, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &File{Path: name, Lines: set.File(tree.Pos()).LineCount(), Tree: tree, Set: set}, nil
}

// Load reads every Go file of the module at root; modules of their own, and what tools hide, are left out.
func Load(root string) ([]*File, error) {
	var files []*File
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if entry.IsDir() {
			base := entry.Name()
			if rel != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "node_modules") {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil && rel != "." {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := Parse(rel, src)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

func (f *File) at(pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.Path, f.Set.Position(pos).Line, fmt.Sprintf(format, args...))
}

// imports is the module's own packages that f imports, as paths from its root.
func (f *File) imports() map[string]token.Pos {
	out := map[string]token.Pos{}
	for _, spec := range f.Tree.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		if rest, ok := strings.CutPrefix(name, Module+"/"); ok {
			out[rest] = spec.Pos()
		}
	}
	return out
}

// under says whether p is dir or below it.
func under(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// Order finds breaches of the plain rules: no init outside gen, no package named after nothing, a sentence for every
// package, and sizes that can be read.
func Order(files []*File) []string {
	var out []string
	lines, described, first := map[string]int{}, map[string]bool{}, map[string]*File{}
	for _, f := range files {
		if f.Generated() {
			continue
		}
		if f.Lines > maxFileLines {
			out = append(out, fmt.Sprintf("%s: %d lines, %d at most: split it by what it is about", f.Path, f.Lines, maxFileLines))
		}
		for _, d := range f.Tree.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				out = append(out, f.at(fn.Pos(), "init() hides when things happen: call it from a constructor"))
			}
		}
		if f.Test() {
			continue
		}
		dir := f.Dir()
		lines[dir] += f.Lines
		if first[dir] == nil {
			first[dir] = f
		}
		if f.Tree.Doc != nil && strings.Contains(f.Tree.Doc.Text(), ".") {
			described[dir] = true
		}
	}
	for dir, f := range first {
		switch name := f.Tree.Name.Name; name {
		case "util", "utils", "common", "helper", "helpers", "base", "misc", "types":
			out = append(out, fmt.Sprintf("%s: a package named %s is about nothing: name it after what it gives", dir, name))
		}
		if !described[dir] {
			out = append(out, dir+": no file has a package comment that says in a sentence what the package is")
		}
		if lines[dir] > maxPackageLines {
			out = append(out, fmt.Sprintf("%s: %d lines, %d at most: find the second package in it", dir, lines[dir], maxPackageLines))
		}
	}
	sort.Strings(out)
	return out
}
