package allocator

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pando-os/pando/mesos/resource"
)

func list(tb testing.TB, text string) resource.List {
	tb.Helper()
	l, err := resource.Parse(text, "*")
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func crowd(tb testing.TB, agents, frameworks int, roleOf func(int) string) *Allocator {
	tb.Helper()
	a := New(Config{}, rand.New(rand.NewPCG(1, 2)))
	what := list(tb, "cpus:16;mem:65536;disk:1000000;ports:[31000-32000]")
	for i := range agents {
		a.AddAgent(Agent{ID: fmt.Sprintf("S%d", i), Total: what, Hostname: fmt.Sprintf("node-%d", i)})
	}
	for i := range frameworks {
		a.AddFramework(Framework{ID: fmt.Sprintf("F%04d", i), Roles: []string{roleOf(i)}}, true)
	}
	return a
}

// BenchmarkCycle is one cycle in which everything of every agent is free and goes to somebody.
func BenchmarkCycle(b *testing.B) {
	for _, roles := range []struct {
		name string
		of   func(int) string
	}{
		{"one role", func(int) string { return "*" }},
		{"a role each", func(i int) string { return fmt.Sprintf("r%d", i) }},
		{"ten departments", func(i int) string { return fmt.Sprintf("d%d/r%d", i%10, i) }},
	} {
		for _, size := range [][2]int{{1000, 100}, {10_000, 1000}, {50_000, 1000}} {
			agents, frameworks := size[0], size[1]
			b.Run(fmt.Sprintf("%s/%d agents, %d frameworks", roles.name, agents, frameworks), func(b *testing.B) {
				a := crowd(b, agents, frameworks, roles.of)
				for b.Loop() {
					grants := a.Cycle(0, nil)
					if len(grants) != agents {
						b.Fatalf("%d grants", len(grants))
					}
					b.StopTimer()
					for _, g := range grants {
						a.Release(g.Agent, g.Framework, g.Role, g.Resources, 0)
					}
					a.refresh()
					b.StartTimer()
				}
			})
		}
	}
}

// BenchmarkTenChanged is a cycle in which ten agents have something free; the others are in use.
func BenchmarkTenChanged(b *testing.B) {
	for _, agents := range []int{1000, 50_000} {
		b.Run(fmt.Sprintf("%d agents", agents), func(b *testing.B) {
			a := crowd(b, agents, 1000, func(int) string { return "*" })
			all := a.Cycle(0, nil)
			at := 0
			for b.Loop() {
				for range 10 {
					g := all[at%len(all)]
					at++
					a.Release(g.Agent, g.Framework, g.Role, g.Resources, 0)
				}
				got := a.Cycle(0, nil)
				if len(got) != 10 {
					b.Fatalf("%d grants", len(got))
				}
				for i, g := range got {
					all[(at-10+i)%len(all)] = g
				}
			}
		})
	}
}

// BenchmarkRefused is a full cycle in which every framework has refused every agent.
func BenchmarkRefused(b *testing.B) {
	a := crowd(b, 1000, 100, func(int) string { return "*" })
	for range 100 {
		for _, g := range a.Cycle(0, nil) {
			a.Release(g.Agent, g.Framework, g.Role, g.Resources, 1<<60)
		}
	}
	for b.Loop() {
		a.allDirty = true
		if n := len(a.Cycle(0, nil)); n > 0 {
			b.Fatalf("%d grants", n)
		}
	}
}
