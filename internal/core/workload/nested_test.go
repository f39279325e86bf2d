package workload

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var outcomes = map[NestedOutcome]string{
	NestedDone: "done", NestedExists: "exists", NestedNoParent: "no parent", NestedTooMany: "too many", NestedFailed: "failed", NestedRuns: "runs",
}

// named is a path without the container of the task at its top.
func (s *bench) named(path string) string {
	if _, below, ok := strings.Cut(path, "."); ok {
		return below
	}
	return path
}

// nestedHost is a task that runs, with containers recovered.
func nestedHost(t *testing.T) *bench {
	t.Helper()
	s := running(t)
	s.step(&Recovered{Containers: []Found{{Container: s.container("t1"), PID: 7}}})
	return s
}

// kid launches a container below the task, or one below it.
func (s *bench) kid(call uint64, name string) *LaunchNested {
	top := s.container("t1")
	n := &Nested{Path: top + "." + name, Parent: top, User: "u", Framework: "F", Executor: "t1", Sandbox: "/s/" + name, Launch: []byte("long")}
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		n.Parent = s.of(name[:i])
	}
	return &LaunchNested{Call: call, Spec: n}
}

func alone(call uint64, name string) *LaunchNested {
	return &LaunchNested{Call: call, Spec: &Nested{Path: name, User: "u", Sandbox: "/s/" + name}}
}

func (s *bench) find(name string) *nested {
	if n := s.book.nested.byPath[s.container("t1")+"."+name]; n != nil {
		return n
	}
	return s.book.nested.byPath[name]
}

// of is the runtime's name of a container of the API.
func (s *bench) of(name string) string {
	if n := s.find(name); n != nil {
		return n.view.Spec.Container
	}
	return "?"
}

func (s *bench) ends(name string, status uint32) *Exited {
	return &Exited{s.of(name), Exit{Status: status, Known: true}}
}

func (s *bench) path(name string) string { return s.find(name).view.Spec.Path }

func TestTheLifeOfANestedContainer(t *testing.T) {
	s := nestedHost(t)
	s.expect(t, s.kid(1, "kid"), "start kid")
	s.expect(t, s.kid(2, "kid"), "answer 2: exists")
	s.expect(t, &RemoveNested{3, s.path("kid")}, "answer 3: runs")
	s.expect(t, &Launched{Container: s.of("kid"), PID: 8}, "answer 1: done")
	s.expect(t, s.kid(4, "kid"), "answer 4: exists")
	v := s.book.View().FindNested(s.path("kid"))
	if v == nil || v.PID != 8 || v.Exit != nil || v.Spec.Launch != nil || s.book.View().FindNested("no such") != nil {
		t.Errorf("it is shown as %+v", v)
	}
	s.expect(t, s.ends("kid", 0x900), "kid ended 0x900 true", "forget")
	s.expect(t, s.ends("kid", 0x900), "forget") // told twice
	s.expect(t, s.kid(5, "kid"), "answer 5: exists")
	s.expect(t, &RemoveNested{6, s.path("kid")}, "remove kid")
	s.expect(t, &RemoveNested{7, "top.kid"}, "answer 7: done")
	s.expect(t, s.kid(8, "kid"), "start kid")
}

func TestWhatANestedContainerNeedsToStart(t *testing.T) {
	s := nestedHost(t)
	orphan := s.kid(1, "kid")
	orphan.Spec.Parent = "nobody"
	s.expect(t, orphan, "answer 1: no parent")
	s.expect(t, s.kid(2, "kid"), "start kid")
	s.expect(t, s.kid(3, "kid.low"), "answer 3: no parent") // it does not run yet
	s.expect(t, &Launched{Container: s.of("kid"), Failure: LaunchRefused, Words: "no"}, "answer 2: failed")
	if s.find("kid") != nil || len(s.book.View().Nested) != 0 {
		t.Error("what could not be started is there")
	}
	for i := range maxNested {
		s.step(alone(9, fmt.Sprint("a", i)))
	}
	s.expect(t, s.kid(4, "kid"), "answer 4: too many")
	s.expect(t, &Launched{Container: s.of("a0"), Failure: LaunchRefused}, "answer 9: failed")
	s.expect(t, s.kid(5, "kid"), "start kid")
}

func TestAKillAndAnEndThatComeBeforeTheLaunchIsTold(t *testing.T) {
	s := nestedHost(t)
	s.step(s.kid(1, "a"))
	s.expect(t, &KillNested{s.of("a")}, "cancel a")
	s.expect(t, &Launched{Container: s.of("a"), PID: 8}, "answer 1: done", "kill a 0s") // the process came first
	s.step(s.kid(2, "b"))
	s.expect(t, s.ends("b", 9))
	s.expect(t, &Launched{Container: s.of("b"), PID: 9}, "answer 2: done", "b ended 0x9 true", "forget")
	s.expect(t, &KillNested{s.of("b")})
}

func TestWhatIsBelowAContainerIsForgottenWhenThatEnds(t *testing.T) {
	s := nestedHost(t)
	for i, name := range []string{"a", "a.low", "b", "c"} {
		s.step(s.kid(uint64(i), name))
		if name != "c" {
			s.step(&Launched{Container: s.of(name), PID: 20})
		}
	}
	s.expect(t, s.ends("b", 0), "b ended 0x0 true", "forget")
	s.expect(t, s.ends("a", 9), "a ended 0x9 true", "forget", "a.low ended 0x0 false")
	if s.find("a.low") != nil || s.find("a") == nil {
		t.Error("what was below is there, or what has ended is not")
	}
	s.expect(t, exited(s, "t1", 0), "update t1 FINISHED", "answer 3: no parent", "forget", "c ended 0x0 false")
	if n := len(s.book.View().Nested); n != 0 || s.book.nested.runs != 0 || len(s.book.nested.below) != 0 {
		t.Errorf("%d are left, %d run", n, s.book.nested.runs)
	}
}

func TestNestedContainersAreKnownAgainAfterARestart(t *testing.T) {
	s := nestedHost(t)
	for i, name := range []string{"runs", "ended", "ends", "ends.low", "lost", "mine"} {
		in := s.kid(uint64(i), name)
		in.Spec.Session = name == "mine"
		s.step(in)
		s.step(&Launched{Container: s.of(name), PID: 20})
	}
	s.step(alone(9, "alone"))
	s.step(&Launched{Container: s.of("alone"), PID: 21})
	s.step(s.ends("ended", 0x300))
	names := map[string]string{}
	for _, n := range []string{"runs", "ended", "ends", "ends.low", "lost", "mine", "alone"} {
		names[n] = s.of(n)
	}
	top := s.container("t1")
	s.step(&Compact{})
	s.restart()
	s.expect(t, &Recovered{Containers: []Found{
		{Container: top, PID: 7},
		{Container: names["runs"], PID: 20, Wall: 5},
		{Container: names["ended"], PID: 20, Exit: &Exit{Status: 0x300, Known: true}},
		{Container: names["ends"], PID: 20, Exit: &Exit{Status: 0x500, Known: true}},
		{Container: names["ends.low"], PID: 20, Exit: &Exit{Status: 9, Known: true}},
		{Container: "stranger", PID: 22, Exit: &Exit{}},
		{Container: names["mine"], PID: 20},
		{Container: names["alone"], PID: 21},
	}}, "forget", "destroy "+names["mine"], "watch t1", "forget", "ends ended 0x500 true", "forget", "ends.low ended 0x0 false", "forget", "lost ended 0x0 false")
	v := s.book.View()
	for name, want := range map[string]string{"runs": "20 <nil>", "ended": "0 0x300", "ends": "20 0x500", "ends.low": "gone", "lost": "0 0x0", "mine": "gone", "alone": "21 <nil>"} {
		got := "gone"
		if n := s.find(name); n != nil {
			got = fmt.Sprint(n.view.PID, " <nil>")
			if e := v.FindNested(n.view.Spec.Path).Exit; e != nil {
				got = fmt.Sprintf("%d %#x", n.view.PID, e.Status)
			}
		}
		if got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	s.restart()
	s.expect(t, &Recovered{Containers: []Found{{Container: names["runs"], PID: 20}}}, "forget", "destroy "+names["runs"], "alone ended 0x0 false")
}

func TestAnAgentThatLeavesEndsWhatStandsAlone(t *testing.T) {
	s := nestedHost(t)
	s.step(alone(1, "alone"))
	s.step(&Launched{Container: s.of("alone"), PID: 21})
	s.expect(t, &Leave{}, "kill t1 3s", "kill alone 0s")
	s.step(exited(s, "t1", 15))
	s.expect(t, alone(2, "late"), "answer 2: failed")
	last := &Exited{s.book.View().Nested[0].Spec.Container, Exit{Status: 9, Known: true}}
	s.expect(t, last, "unregister", "alone ended 0x9 true", "forget", "left")
}

func TestTooManyEndsPushTheOldestOut(t *testing.T) {
	s := nestedHost(t)
	for i := range maxNestedEnded + 1 {
		name := fmt.Sprint("k", i)
		s.step(s.kid(1, name))
		s.step(&Launched{Container: s.of(name), PID: 21})
		s.step(s.ends(name, 0))
	}
	if s.find("k0") != nil || s.find("k1") == nil || len(s.book.View().Nested) != maxNestedEnded {
		t.Errorf("%d are remembered", len(s.book.View().Nested))
	}
}

func TestTheJournalOfNestedContainersMakesThemAgain(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := nestedHost(t)
		names := []string{"a", "b", "a.x", "a.y", "b.x"}
		for range rapid.IntRange(0, 40).Draw(rt, "steps") {
			name := rapid.SampledFrom(names).Draw(rt, "name")
			n := s.find(name)
			switch what := rapid.IntRange(0, 4).Draw(rt, "what"); {
			case what == 0 || n == nil:
				s.step(s.kid(1, name))
			case what == 1:
				s.step(&Launched{Container: n.view.Spec.Container, PID: 9})
			case what == 2:
				s.step(s.ends(name, 1))
			case what == 3:
				s.step(&RemoveNested{1, n.view.Spec.Path})
			case what == 4:
				s.step(&KillNested{n.view.Spec.Container})
			}
			k := &s.book.nested
			runs := 0
			for _, v := range s.book.View().Nested {
				if v.Exit == nil {
					runs++
				}
			}
			if runs != k.runs || len(k.byPath) != len(k.byName) || len(s.book.View().Nested) != len(k.byPath) {
				rt.Fatalf("%d run, and %d are counted; %d, %d and %d are known", runs, k.runs, len(k.byPath), len(k.byName), len(s.book.View().Nested))
			}
		}
		shown := func(b *Book) []string {
			var out []string
			for _, v := range b.View().Nested {
				out = append(out, fmt.Sprint(v.Spec.Path, v.Spec.Container, v.Spec.Parent, v.Exit))
			}
			return out
		}
		plain := New(s.cfg, slices.Clone(s.journal), s.clock(), nil)
		short := New(s.cfg, s.book.Journal(), s.clock(), nil)
		for _, b := range []*Book{plain, short} {
			if d := cmp.Diff(shown(s.book), shown(b)); d != "" {
				rt.Fatalf("made again it is (-want +got):\n%s", d)
			}
		}
	})
}
