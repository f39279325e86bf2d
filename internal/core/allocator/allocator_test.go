package allocator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pando-os/pando/mesos/resource"
)

// hall is an allocator with agents of one size.
func hall(t *testing.T, cfg Config, agents int, size string) *Allocator {
	t.Helper()
	a := New(cfg, rand.New(rand.NewPCG(7, 7)))
	for i := range agents {
		a.AddAgent(Agent{ID: fmt.Sprintf("S%02d", i), Total: list(t, size)})
	}
	return a
}

func join(a *Allocator, id string, roles ...string) {
	a.AddFramework(Framework{ID: id, Roles: roles, Revocable: true, Shared: true, Refined: true}, true)
}

// got counts grants by framework.
func got(grants []Grant) map[string]int {
	m := map[string]int{}
	for _, g := range grants {
		m[g.Framework]++
	}
	return m
}

func TestEqualFrameworksShareEvenly(t *testing.T) {
	a := hall(t, Config{}, 12, "cpus:4;mem:1024")
	join(a, "F1", "*")
	join(a, "F2", "*")
	join(a, "F3", "*")
	if m := got(a.Cycle(0, nil)); m["F1"] != 4 || m["F2"] != 4 || m["F3"] != 4 {
		t.Errorf("twelve agents are shared %v", m)
	}
}

func TestWeightsDivideAmongRoles(t *testing.T) {
	a := hall(t, Config{Weights: map[string]int64{"big": 3000}}, 16, "cpus:4;mem:1024")
	join(a, "F1", "big")
	join(a, "F2", "small")
	if m := got(a.Cycle(0, nil)); m["F1"] != 12 || m["F2"] != 4 {
		t.Errorf("a weight of three against one shares sixteen agents %v", m)
	}
}

func TestSiblingsShareWhatTheirParentGets(t *testing.T) {
	a := hall(t, Config{}, 16, "cpus:4;mem:1024")
	join(a, "E1", "eng/build")
	join(a, "E2", "eng/test")
	join(a, "E3", "eng/web")
	join(a, "S1", "sales")
	m := got(a.Cycle(0, nil))
	if m["S1"] != 8 {
		t.Errorf("one department has one framework and the other three, and sixteen agents are shared %v", m)
	}
	for _, f := range []string{"E1", "E2", "E3"} {
		if m[f] < 2 || m[f] > 3 {
			t.Errorf("the three share eight agents %v", m)
		}
	}
}

func TestAParentsOwnFrameworksCompeteAsOneChild(t *testing.T) {
	a := hall(t, Config{}, 12, "cpus:4;mem:1024")
	join(a, "P1", "eng")
	join(a, "P2", "eng")
	join(a, "C1", "eng/build")
	if m := got(a.Cycle(0, nil)); m["C1"] != 6 || m["P1"] != 3 || m["P2"] != 3 {
		t.Errorf("twelve agents are shared %v", m)
	}
}

func TestTheDominantResourceCounts(t *testing.T) {
	a := hall(t, Config{}, 1, "cpus:9;mem:18432")
	join(a, "F1", "*")
	join(a, "F2", "*")
	a.Cycle(0, nil)
	a.Release("S00", "F1", "*", list(t, "cpus:9;mem:18432"), 0)
	a.Release("S00", "F2", "*", list(t, "cpus:9;mem:18432"), 0) // one of them held it all
	a = hall(t, Config{}, 1, "cpus:9;mem:18432")
	join(a, "F1", "*")
	join(a, "F2", "*")
	a.Hold("S00", "F1", "*", list(t, "cpus:1;mem:4096")) // 2/9 of the memory
	a.Hold("S00", "F2", "*", list(t, "cpus:1;mem:1024")) // 1/9 of the cpus
	if g := a.Cycle(0, nil); len(g) != 1 || g[0].Framework != "F2" {
		t.Errorf("the poorer by its dominant share is next, and %v was granted", g)
	}
}

func TestOfTwoThatHoldTheSameTheOneThatWasGivenLessOftenIsNext(t *testing.T) {
	a := hall(t, Config{}, 1, "cpus:4;mem:1024")
	join(a, "F1", "*")
	join(a, "F2", "*")
	var order []string
	for range 6 {
		g := a.Cycle(0, nil)
		if len(g) != 1 {
			t.Fatalf("%d grants", len(g))
		}
		order = append(order, g[0].Framework)
		a.Release(g[0].Agent, g[0].Framework, g[0].Role, g[0].Resources, 0)
	}
	if want := []string{"F1", "F2", "F1", "F2", "F1", "F2"}; !slices.Equal(order, want) {
		t.Errorf("the offers went to %v, want %v", order, want)
	}
}

func TestAFilterKeepsWhatWasRefusedAndAnyPartOfIt(t *testing.T) {
	a := hall(t, Config{}, 1, "cpus:4;mem:1024")
	join(a, "F1", "*")
	g := a.Cycle(0, nil)[0]
	a.Hold("S00", "F2", "*", nil) // nothing
	a.Release(g.Agent, g.Framework, g.Role, g.Resources, 10*time.Second)
	if n := len(a.Cycle(9*time.Second, nil)); n != 0 {
		t.Errorf("what was refused is offered again before its time")
	}
	join(a, "F2", "*")
	if g := a.Cycle(9*time.Second, nil); len(g) != 1 || g[0].Framework != "F2" {
		t.Errorf("a refusal is its own framework's alone: %v", g)
	}
	a.Release("S00", "F2", "*", list(t, "cpus:4;mem:1024"), time.Hour)
	if g := a.Cycle(10*time.Second, nil); len(g) != 1 || g[0].Framework != "F1" {
		t.Errorf("when the filter runs out, nothing is offered: %v", g)
	}
}

func TestMoreThanWhatWasRefusedIsOffered(t *testing.T) {
	a := hall(t, Config{}, 1, "cpus:4;mem:1024")
	join(a, "F1", "*")
	a.Hold("S00", "F0", "*", list(t, "cpus:2"))
	g := a.Cycle(0, nil)[0]
	a.Release(g.Agent, g.Framework, g.Role, g.Resources, time.Hour)
	if n := len(a.Cycle(time.Second, nil)); n != 0 {
		t.Fatal("the filter does not hold")
	}
	a.Release("S00", "F0", "*", list(t, "cpus:2"), 0)
	if g := a.Cycle(2*time.Second, nil); len(g) != 1 || !g[0].Resources.Equal(list(t, "cpus:4;mem:1024")) {
		t.Errorf("two cpus more are free than were refused: %v", g)
	}
}

func TestReviveEndsFiltersAndSuppression(t *testing.T) {
	a := hall(t, Config{}, 1, "cpus:4;mem:1024")
	join(a, "F1", "*")
	g := a.Cycle(0, nil)[0]
	a.Release(g.Agent, g.Framework, g.Role, g.Resources, time.Hour)
	a.Suppress("F1", nil)
	a.Revive("F1", nil)
	if n := len(a.Cycle(time.Second, nil)); n != 1 {
		t.Errorf("after a revival there are %d offers", n)
	}
	if a.Filters() != 0 {
		t.Errorf("%d filters are left", a.Filters())
	}
}

func TestASuppressedRoleGetsNothingAndItsOthersDo(t *testing.T) {
	a := hall(t, Config{}, 4, "cpus:4;mem:1024")
	join(a, "F1", "a", "b")
	a.Suppress("F1", []string{"a"})
	for _, g := range a.Cycle(0, nil) {
		if g.Role != "b" {
			t.Errorf("role %s is suppressed and gets an offer", g.Role)
		}
	}
}

func TestWhatIsBelowEveryMinimumIsNotOffered(t *testing.T) {
	a := hall(t, Config{MinAllocatable: []Quantities{{"cpus": 1000}, {"mem": 32_000}}}, 1, "cpus:0.5;mem:16")
	join(a, "F1", "*")
	if g := a.Cycle(0, nil); len(g) != 0 {
		t.Errorf("too little for anybody is offered: %v", g)
	}
	a.AddFramework(Framework{ID: "F2", Roles: []string{"*"}, Filters: map[string][]Quantities{"*": {}}}, true)
	if g := a.Cycle(0, nil); len(g) != 1 || g[0].Framework != "F2" {
		t.Errorf("a framework that wants no minimum gets %v", g)
	}
}

func TestReservationsAreForTheirRoleAndThoseBelowIt(t *testing.T) {
	a := New(Config{}, rand.New(rand.NewPCG(1, 1)))
	a.AddAgent(Agent{ID: "S00", Total: list(t, "cpus:2;cpus(eng):4;mem:100;mem(eng):100")})
	join(a, "F1", "sales")
	if g := a.Cycle(0, nil); len(g) != 1 || !g[0].Resources.Equal(list(t, "cpus:2;mem:100")) {
		t.Errorf("sales is offered %v", g)
	}
	join(a, "F2", "eng/build")
	if g := a.Cycle(0, nil); len(g) != 1 || !g[0].Resources.Equal(list(t, "cpus(eng):4;mem(eng):100")) {
		t.Errorf("eng/build is offered %v", g)
	}
}

func TestAPoorerFrameworkIsRelievedOfARicherOnesOldOffer(t *testing.T) {
	a := hall(t, Config{}, 3, "cpus:4;mem:1024")
	join(a, "F1", "*")
	all := a.Cycle(0, nil)
	join(a, "F2", "*")
	g, ok := a.Relieve(all[0], "F2", 0)
	if !ok || g.Framework != "F2" || !g.Resources.Equal(all[0].Resources) {
		t.Fatalf("F2 has nothing, F1 three offers, and relief gives %v, %t", g, ok)
	}
	if _, ok := a.Relieve(g, "F1", 0); ok {
		t.Error("the richer was relieved")
	}
}

func TestAnAgentThatIsBusyForAFrameworkIsFoundLater(t *testing.T) {
	a := hall(t, Config{}, 1, "cpus:4;mem:1024")
	join(a, "F1", "*")
	if g := a.Cycle(0, func(string, string) bool { return true }); len(g) != 0 {
		t.Errorf("a busy framework gets %v", g)
	}
	if g := a.Cycle(0, nil); len(g) != 1 {
		t.Errorf("a later cycle finds %v", g)
	}
}

func TestAnAgentWithoutFreeResourcesIsFoundWhenItHasSome(t *testing.T) {
	a := hall(t, Config{}, 1, "cpus:4;mem:1024")
	join(a, "F1", "*")
	g := a.Cycle(0, nil)[0]
	a.SetAgentActive("S00", false)
	a.SetAgentActive("S00", true) // dirty, with nothing free
	join(a, "F2", "*")            // looks at all agents
	a.Cycle(0, nil)
	a.Release(g.Agent, g.Framework, g.Role, g.Resources, 0)
	if n := len(a.Cycle(0, nil)); n != 1 {
		t.Errorf("%d offers of an agent that is free again", n)
	}
}

// model is what the property knows to be held.
type model map[string]map[Seat]resource.List

func (m model) add(g Grant) {
	if m[g.Agent] == nil {
		m[g.Agent] = map[Seat]resource.List{}
	}
	s := Seat{g.Framework, g.Role}
	m[g.Agent][s] = m[g.Agent][s].Plus(g.Resources)
}

func (m model) take(g Grant) {
	s := Seat{g.Framework, g.Role}
	m[g.Agent][s] = m[g.Agent][s].Minus(g.Resources)
	if m[g.Agent][s].IsEmpty() {
		delete(m[g.Agent], s)
	}
	if len(m[g.Agent]) == 0 {
		delete(m, g.Agent)
	}
}

func TestNothingIsEverGivenTwice(t *testing.T) {
	size := list(t, "cpus:4;mem:1024;cpus(a):2;ports:[31000-31100]")
	rapid.Check(t, func(t *rapid.T) {
		a := New(Config{Weights: map[string]int64{"a": 2000}}, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
		held := model{}
		var out []Grant
		now := time.Duration(0)
		agents := map[string]bool{}
		agent := rapid.SampledFrom([]string{"S1", "S2", "S3", "S4"})
		fw := rapid.SampledFrom([]string{"F1", "F2", "F3"})
		roles := rapid.SampledFrom([][]string{{"*"}, {"a"}, {"a/b", "c"}, {"a", "a/b", "a/d"}})
		some := func(t *rapid.T) (Grant, bool) {
			if len(out) == 0 {
				return Grant{}, false
			}
			i := rapid.IntRange(0, len(out)-1).Draw(t, "grant")
			g := out[i]
			out = slices.Delete(out, i, i+1)
			return g, true
		}
		t.Repeat(map[string]func(*rapid.T){
			"agent comes": func(t *rapid.T) {
				id := agent.Draw(t, "agent")
				if !agents[id] {
					a.AddAgent(Agent{ID: id, Total: size})
					agents[id] = true
				}
			},
			"agent goes": func(t *rapid.T) {
				id := agent.Draw(t, "agent")
				a.RemoveAgent(id)
				delete(agents, id)
				delete(held, id)
				out = slices.DeleteFunc(out, func(g Grant) bool { return g.Agent == id })
			},
			"agent is away": func(t *rapid.T) {
				a.SetAgentActive(agent.Draw(t, "agent"), rapid.Bool().Draw(t, "active"))
			},
			"framework comes": func(t *rapid.T) {
				id := fw.Draw(t, "framework")
				a.AddFramework(Framework{ID: id, Roles: roles.Draw(t, "roles")}, true)
			},
			"framework changes": func(t *rapid.T) {
				a.UpdateFramework(Framework{ID: fw.Draw(t, "framework"), Roles: roles.Draw(t, "roles")})
			},
			"framework is away": func(t *rapid.T) {
				a.SetFrameworkActive(fw.Draw(t, "framework"), rapid.Bool().Draw(t, "active"))
			},
			"framework goes": func(t *rapid.T) {
				id := fw.Draw(t, "framework")
				for _, g := range slices.Clone(out) {
					if g.Framework == id {
						a.Release(g.Agent, g.Framework, g.Role, g.Resources, 0)
						held.take(g)
					}
				}
				out = slices.DeleteFunc(out, func(g Grant) bool { return g.Framework == id })
				a.RemoveFramework(id)
			},
			"cycle": func(t *rapid.T) {
				now += time.Duration(rapid.IntRange(0, 5).Draw(t, "seconds")) * time.Second
				for _, g := range a.Cycle(now, nil) {
					out = append(out, g)
					held.add(g)
				}
			},
			"released": func(t *rapid.T) {
				if g, ok := some(t); ok {
					until := time.Duration(0)
					if rapid.Bool().Draw(t, "refuse") {
						until = now + 3*time.Second
					}
					a.Release(g.Agent, g.Framework, g.Role, g.Resources, until)
					held.take(g)
				}
			},
			"relieved": func(t *rapid.T) {
				g, ok := some(t)
				if !ok {
					return
				}
				if n, ok := a.Relieve(g, fw.Draw(t, "poor"), now); ok {
					held.take(g)
					held.add(n)
					out = append(out, n)
				} else {
					out = append(out, g)
				}
			},
			"": func(t *rapid.T) {
				if err := a.Audit(held); err != nil {
					t.Fatal(err)
				}
				if err := a.sorted(a.root); err != nil {
					t.Fatal(err)
				}
			},
		})
		for _, g := range out {
			a.Release(g.Agent, g.Framework, g.Role, g.Resources, 0)
		}
		for _, f := range []string{"F1", "F2", "F3"} {
			a.RemoveFramework(f)
		}
		if len(a.roles) != 0 {
			t.Fatalf("nobody is left, and %d roles are", len(a.roles))
		}
	})
}

// sorted says whether every list is in the order of its places, and places are those of what is held.
func (a *Allocator) sorted(n *node) error {
	if !slices.IsSortedFunc(n.seats, func(x, y *client) int { return x.rank().compare(y.rank()) }) {
		return fmt.Errorf("the seats of role %q are out of order", n.name)
	}
	if !slices.IsSortedFunc(n.children, func(x, y *node) int { return x.rank().compare(y.rank()) }) {
		return fmt.Errorf("the children of role %q are out of order", n.name)
	}
	for _, c := range n.seats {
		if want := a.shareOf(c.alloc, defaultWeight); !a.stale && c.key != want {
			return fmt.Errorf("%s in role %q is placed by share %d and has %d", c.framework.ID, n.name, c.key, want)
		}
	}
	for _, c := range n.children {
		if err := a.sorted(c); err != nil {
			return err
		}
	}
	return nil
}

func TestARefusalOfLittleForLongOutlivesOneOfMuchForAWhile(t *testing.T) {
	a := hall(t, Config{}, 1, "cpus:4;mem:1024")
	join(a, "F1", "*")
	whole := a.Cycle(0, nil)[0]
	little, rest := list(t, "cpus:1;mem:128"), list(t, "cpus:3;mem:896")
	a.Release(whole.Agent, "F1", "*", little, time.Hour) // what is left beside a task
	a.Release(whole.Agent, "F1", "*", rest, 0)           // the task has ended
	whole = a.Cycle(time.Second, nil)[0]
	a.Release(whole.Agent, "F1", "*", whole.Resources, 10*time.Second)
	if g := a.Cycle(9*time.Second, nil); len(g) != 0 {
		t.Errorf("within the refusal of all, %v is offered", g)
	}
	whole = a.Cycle(11*time.Second, nil)[0]
	a.Release(whole.Agent, "F1", "*", little, 0)
	if g := a.Cycle(12*time.Second, nil); len(g) != 0 {
		t.Errorf("within the refusal of little, %v is offered", g)
	}
	if a.Filters() != 1 {
		t.Errorf("%d filters are in force", a.Filters())
	}
	if g := a.Cycle(2*time.Hour, nil); len(g) != 1 || a.Filters() != 0 {
		t.Errorf("after all refusals %v is offered, and %d filters are in force", g, a.Filters())
	}
}

func TestWhoIsOfferedGPUsAndOtherRegions(t *testing.T) {
	for name, c := range map[string]struct {
		cfg   Config
		agent Agent
		f     Framework
		want  bool
	}{
		"gpus, to one without the capability":               {Config{}, Agent{Total: list(t, "cpus:1;gpus:2")}, Framework{}, false},
		"gpus, to one with it":                              {Config{}, Agent{Total: list(t, "cpus:1;gpus:2")}, Framework{GPU: true}, true},
		"gpus, where nobody is kept from them":              {Config{AnyGPU: true}, Agent{Total: list(t, "cpus:1;gpus:2")}, Framework{}, true},
		"an agent without gpus, to one with the capability": {Config{}, Agent{Total: list(t, "cpus:1")}, Framework{GPU: true}, true},
		"another region":                                    {Config{Region: "east"}, Agent{Region: "west", Zone: "1", Total: list(t, "cpus:1")}, Framework{}, false},
		"another region, to one who is aware of regions":    {Config{Region: "east"}, Agent{Region: "west", Zone: "1", Total: list(t, "cpus:1")}, Framework{RegionAware: true}, true},
		"another zone of the region":                        {Config{Region: "east"}, Agent{Region: "east", Zone: "2", Total: list(t, "cpus:1")}, Framework{}, true},
		"an agent that does not say where it is":            {Config{Region: "east"}, Agent{Total: list(t, "cpus:1")}, Framework{}, true},
		"masters that do not say where they are":            {Config{}, Agent{Region: "west", Zone: "1", Total: list(t, "cpus:1")}, Framework{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := New(c.cfg, rand.New(rand.NewPCG(7, 7)))
			c.agent.ID, c.f.ID, c.f.Roles = "S", "F", []string{"*"}
			a.AddAgent(c.agent)
			a.AddFramework(c.f, true)
			if got := len(a.Cycle(0, nil)) == 1; got != c.want {
				t.Errorf("it is offered: %t", got)
			}
		})
	}
}

func TestAResourceThatIsNotCountedMakesNobodyRich(t *testing.T) {
	for _, c := range []struct {
		uncounted []string
		first     string
	}{{nil, "F2"}, {[]string{"gpus"}, "F1"}} {
		a := hall(t, Config{Uncounted: c.uncounted, AnyGPU: true}, 1, "cpus:10;mem:1000;gpus:2")
		join(a, "F1", "*")
		join(a, "F2", "*")
		a.Hold("S00", "F1", "*", list(t, "gpus:1;cpus:1"))
		a.Hold("S00", "F2", "*", list(t, "cpus:2"))
		if m := got(a.Cycle(0, nil)); m[c.first] != 1 {
			t.Errorf("without %q counted, %v are offered what is left", c.uncounted, m)
		}
	}
}
