package workload

import (
	"slices"
	"testing"
)

// over lists the launches of which the book tells that they are over.
func (s *bench) over(in In) (launches []uint64) {
	var out Out
	s.book.Step(s.clock(), in, &out)
	for i := range out.Tell {
		f := &out.Tell[i]
		if f.Kind == FactTaskState && Terminal(f.State) || f.Kind == FactTaskForgotten || f.Kind == FactMessageDropped && f.Launch != 0 {
			launches = append(launches, f.Launch)
		}
	}
	return launches
}

// The shell keeps secrets for each launch that it hands over, and would for ever without a word.
func TestTheBookTellsOfEveryLaunchWhenItIsOver(t *testing.T) {
	numbered := func(r *Run, launch uint64) *Run {
		x := *r.Task
		x.Launch = launch
		return &Run{Framework: r.Framework, Task: &x}
	}
	s := newBench(t)
	s.join()
	expect := func(what string, in In, want ...uint64) {
		t.Helper()
		if got := s.over(in); !slices.Equal(got, want) {
			t.Errorf("%s: over are %v, want %v", what, got, want)
		}
	}
	expect("it is taken on", numbered(run("t"), 901))
	expect("one of the same id", numbered(run("t"), 902), 902)
	expect("it starts", s.launched("t", 11))
	refused := numbered(run("no"), 903)
	refused.Task.Refused = "it cannot be"
	expect("it is refused", refused, 903)
	g := s.group(true, "t", "new")
	g.Tasks[0].Launch, g.Tasks[1].Launch = 904, 905
	expect("a group with an id that is here", g, 905, 904)
	expect("it ends", exited(s, "t", 0), 901)
	g = s.group(true, "a", "b")
	g.Tasks[0].Launch, g.Tasks[1].Launch = 906, 907
	expect("a group is taken on", g)
	again := *g
	again.Tasks = nil
	for i, x := range g.Tasks {
		n := *x
		n.Launch = uint64(908 + i)
		again.Tasks = append(again.Tasks, &n)
	}
	expect("a group that is here", &again, 908, 909)
	expect("its executor cannot be started", &Launched{Container: s.box(), Failure: LaunchRefused}, 906, 907)
	expect("one more", numbered(run("u"), 910))
	expect("it starts", s.launched("u", 12))
	s.over(&ShutdownFramework{"F"})
	expect("it ends without a word", exited(s, "u", 0), 910)
	s.over(&Leave{})
	expect("the agent leaves", numbered(run("late"), 911), 911)
	g = s.group(true, "later")
	g.Tasks[0].Launch = 912
	expect("likewise a group", g, 912)
}
