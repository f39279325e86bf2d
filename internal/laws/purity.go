package laws

import (
	"go/ast"
	"go/token"
	"go/types"
	"sort"
	"strconv"
	"strings"
)

// core is where calculators and machines live.
const core = "internal/core"

// hands are the packages a core may not import: what reads or changes the world, and what waits.
var hands = map[string]string{
	"os": "cores have no hands", "os/exec": "cores have no hands", "syscall": "cores have no hands",
	"net": "cores have no hands", "net/http": "cores have no hands", "context": "cores do not wait",
	"sync": "one goroutine steps a core", "sync/atomic": "one goroutine steps a core",
	"log": "facts are told, not logged", "log/slog": "facts are told, not logged",
	"crypto/rand": "chance comes in as an input", "unsafe": "cores are plain",
	Module + "/internal/clock": "time comes in as an input",
	Module + "/internal/loop":  "loops drive cores, not the other way round",
	Module + "/internal/meter": "facts are told, not counted",
}

// clocks are the names of package time that read a clock or wait for one.
var clocks = map[string]bool{
	"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true, "Tick": true,
	"NewTimer": true, "NewTicker": true,
}

// seeded are the names of math/rand that do not use its global generator.
var seeded = map[string]bool{
	"New": true, "NewSource": true, "NewPCG": true, "NewChaCha8": true, "NewZipf": true,
	"Rand": true, "Source": true, "PCG": true, "ChaCha8": true, "Zipf": true,
}

// Purity finds what a core file does that a pure function cannot. Maps ranged over are found by Maps.
func Purity(files []*File) []string {
	var out []string
	for _, f := range files {
		if f.Test() || !under(f.Dir(), core) {
			continue
		}
		names := map[string]string{} // local name → import path
		for _, spec := range f.Tree.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			if why, banned := hands[p]; banned {
				out = append(out, f.at(spec.Pos(), "a core imports %s: %s", p, why))
			}
			local := p[strings.LastIndex(p, "/")+1:]
			if p == "math/rand/v2" {
				local = "rand"
			}
			if spec.Name != nil {
				local = spec.Name.Name
			}
			names[local] = p
		}
		ast.Inspect(f.Tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				out = append(out, f.at(n.Pos(), "a core starts a goroutine: ask for it with Do"))
			case *ast.ChanType, *ast.SendStmt, *ast.SelectStmt:
				out = append(out, f.at(n.Pos(), "a core uses a channel: messages come by Step and leave by Out"))
			case *ast.UnaryExpr:
				if n.Op == token.ARROW {
					out = append(out, f.at(n.Pos(), "a core uses a channel: messages come by Step and leave by Out"))
				}
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if !ok {
					break
				}
				switch p := names[x.Name]; {
				case p == "time" && clocks[n.Sel.Name]:
					out = append(out, f.at(n.Pos(), "a core calls time.%s: time comes in as Now", n.Sel.Name))
				case (p == "math/rand" || p == "math/rand/v2") && !seeded[n.Sel.Name]:
					out = append(out, f.at(n.Pos(), "a core uses the global generator (rand.%s): chance comes in as an input", n.Sel.Name))
				}
			}
			return true
		})
	}
	sort.Strings(out)
	return out
}

// Maps finds ranges over maps without a comment "// order: …" on their line or the line above that says why the order
// does not matter, or where it is made up for. info knows the types of the file's expressions.
func Maps(f *File, info *types.Info) []string {
	explained := map[int]bool{}
	for _, group := range f.Tree.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "// order: ") {
				explained[f.Set.Position(c.Pos()).Line] = true
			}
		}
	}
	var out []string
	ast.Inspect(f.Tree, func(n ast.Node) bool {
		var over ast.Expr
		switch n := n.(type) {
		case *ast.RangeStmt:
			over = n.X
		case *ast.CallExpr: // maps.Keys and its like are ranges too
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && len(n.Args) == 1 {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "maps" && sel.Sel.Name != "Clone" {
					over = n.Args[0]
				}
			}
		}
		if over == nil {
			return true
		}
		t, ok := info.Types[over]
		if !ok {
			return true
		}
		if _, isMap := t.Type.Underlying().(*types.Map); !isMap {
			return true
		}
		if line := f.Set.Position(n.Pos()).Line; !explained[line] && !explained[line-1] {
			out = append(out, f.at(n.Pos(), "a core ranges over a map: sort, or say with \"// order: …\" why the order decides nothing"))
		}
		return true
	})
	return out
}
