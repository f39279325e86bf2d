package laws

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed floors.txt
var floorsText string

const root = "../.."

func load(t *testing.T) []*File {
	t.Helper()
	files, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("found no files")
	}
	return files
}

func report(t *testing.T, breaches []string) {
	t.Helper()
	for _, b := range breaches {
		t.Error(b)
	}
}

func TestTheHouseKeepsItsFloors(t *testing.T) {
	plan, err := ReadPlan(floorsText)
	if err != nil {
		t.Fatal("floors.txt: ", err)
	}
	report(t, Floors(plan, load(t)))
}

func TestTheHouseIsInOrder(t *testing.T) { report(t, Order(load(t))) }

func TestCoresArePure(t *testing.T) { report(t, Purity(load(t))) }

func TestNoDecisionDependsOnMapOrder(t *testing.T) {
	if _, err := os.Stat(filepath.Join(root, core)); errors.Is(err, os.ErrNotExist) {
		t.Skip("there is no core yet")
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-C", root, "-export", "-deps",
		"-json=ImportPath,Dir,Export,GoFiles", "./"+core+"/...").Output()
	if err != nil {
		t.Fatalf("listing the cores: %v", err)
	}
	exports := map[string]string{}
	type listed struct {
		ImportPath, Dir, Export string
		GoFiles                 []string
	}
	var cores []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if under(p.ImportPath, Module+"/"+core) {
			cores = append(cores, p)
		}
	}
	for _, p := range cores {
		var sources []source
		for _, name := range p.GoFiles {
			src, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			sources = append(sources, source{strings.TrimPrefix(p.ImportPath, Module+"/") + "/" + name, src})
		}
		breaches, err := mapsOf(sources, exports)
		if err != nil {
			t.Errorf("%s: %v", p.ImportPath, err)
		}
		report(t, breaches)
	}
}

type source struct {
	name string
	text []byte
}

// mapsOf checks the types of one package, whose imports' export data are in exports, and applies Maps to its files.
func mapsOf(sources []source, exports map[string]string) ([]string, error) {
	var files []*File
	set := token.NewFileSet()
	var trees []*ast.File
	for _, s := range sources {
		f, err := parseIn(set, s.name, s.text)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		trees = append(trees, f.Tree)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	config := types.Config{Importer: importer.ForCompiler(set, "gc", func(p string) (io.ReadCloser, error) {
		if exports[p] == "" {
			return nil, fmt.Errorf("no export data of %s", p)
		}
		return os.Open(exports[p])
	})}
	if _, err := config.Check("core", set, trees, info); err != nil {
		return nil, err
	}
	var out []string
	for _, f := range files {
		out = append(out, Maps(f, info)...)
	}
	return out, nil
}

func parse(t *testing.T, name, src string) *File {
	t.Helper()
	f, err := Parse(name, []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// expect compares breaches with the words that must be in each, in order.
func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d breaches, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("breach %q, want one with %q", got[i], want[i])
		}
	}
}

func TestFloorsFindsImportsUpAcrossAndFromNowhere(t *testing.T) {
	plan, err := ReadPlan("0 low\n1 left # a comment\n1 right\n1 room\n2 high\nleft -> right\n")
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, imports ...string) *File {
		src := "// Package p is one.\npackage p\n"
		for _, i := range imports {
			src += "import _ \"" + Module + "/" + i + "\"\n"
		}
		return parse(t, name, src)
	}
	expect(t, Floors(plan, []*File{
		file("high/a.go", "low", "left", "right/below"), file("left/a.go", "right", "left/below"), file("low/a_test.go", "high"),
	}))
	expect(t, Floors(plan, []*File{
		file("low/a.go", "high"), file("nowhere/a.go"), file("right/a.go", "left", "room"),
	}), "low/a.go:3: low (floor 0) imports high", "nowhere: no floor", "right/a.go:3: right imports left", "right/a.go:4: right imports room")
}

func TestAPlanWithoutSenseIsRefused(t *testing.T) {
	for _, text := range []string{"x a", "1 a\n1 a", "1 a b c", "1 a\n2 b\na -> b", "1 a\na -> c", "1 a\n1 b\n1 c\na -> b\nb -> c\nc -> a"} {
		if _, err := ReadPlan(text); err == nil {
			t.Errorf("accepted %q", text)
		}
	}
}

func TestPurityFindsHandsClocksChannelsAndChance(t *testing.T) {
	const src = `// Package p is a core.
package p

import (
	"math/rand/v2"
	"os"
	clock "time"
)

var file = os.Args

func f(c chan int) {
	go f(nil)
	c <- 1
	<-c
	_ = clock.Now()
	_ = clock.Second
	_ = rand.IntN(3)
	_ = rand.New(rand.NewPCG(1, 2))
}
`
	expect(t, Purity([]*File{parse(t, "internal/core/p/p.go", src)}),
		"p.go:12: a core uses a channel", "p.go:13: a core starts a goroutine", "p.go:14: a core uses a channel",
		"p.go:15: a core uses a channel", "p.go:16: a core calls time.Now", "p.go:18: a core uses the global generator",
		"p.go:6: a core imports os")
	expect(t, Purity([]*File{parse(t, "internal/host/p.go", src), parse(t, "internal/core/p/p_test.go", src)}))
}

func TestMapsFindsRangesThatNobodyExplained(t *testing.T) {
	const src = `package p

type book map[string]int

func f(b book, s []int) int {
	n := 0
	for _, v := range b {
		n += v
	}
	// order: a sum does not care.
	for _, v := range b {
		n += v
	}
	for _, v := range b { // order: a sum does not care.
		n += v
	}
	for _, v := range s {
		n += v
	}
	return n
}
`
	got, err := mapsOf([]source{{"p.go", []byte(src)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, got, "p.go:7: a core ranges over a map")
}

func TestOrderFindsInitNamesSizesAndSilence(t *testing.T) {
	expect(t, Order([]*File{
		parse(t, "a/a.go", "// Package util helps.\npackage util\nfunc init() {}\n"),
		parse(t, "b/b.go", "package b\n"),
		parse(t, "c/c.go", "// Package c is long.\npackage c\n"+strings.Repeat("\n", maxFileLines)),
		parse(t, "gen/d.go", "package d\nfunc init() {}\n"),
	}), "a/a.go:3: init()", "a: a package named util", "b: no file has a package comment", "c/c.go: 702 lines")
}
