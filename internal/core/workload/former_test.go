package workload

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/machine"
)

func TestFrameworksOfThePastAreRememberedInOrderAndBounded(t *testing.T) {
	var journal []Record
	life := func(framework, task string) {
		journal = append(journal, Record{Framework: &Framework{ID: framework}}, Record{Accepted: &Accepted{Task: &Task{Framework: framework, ID: task}}},
			Record{Gone: &Ref{framework, task}}, Record{FrameworkGone: framework})
	}
	for i := range maxFormer + 2 {
		life(fmt.Sprint(i), "t")
	}
	life("7", "again") // it came back, and is the latest now
	journal = append(journal, Record{Framework: &Framework{ID: "lives"}}, Record{Accepted: &Accepted{Task: &Task{Framework: "lives", ID: "t"}}})
	b := New(Defaults(), journal, machine.Now{Mono: time.Second, Wall: 1}, rand.New(rand.NewPCG(1, 2)))
	want := []string{}
	for i := 2; i < maxFormer+2; i++ {
		if i != 7 {
			want = append(want, fmt.Sprint(i))
		}
	}
	want = append(want, "7")
	got := []string{}
	for _, f := range b.View().Former {
		got = append(got, f.ID)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestOfEachFrameworkTheLatestExecutorsAreRememberedAndNoMore(t *testing.T) {
	cfg := Defaults()
	cfg.MaxPastExecutors, cfg.MaxCompleted = 3, 8
	var journal []Record
	command := func(framework, id string) {
		journal = append(journal, Record{Framework: &Framework{ID: framework}}, Record{Accepted: &Accepted{Task: &Task{Framework: framework, ID: id}}}, Record{Gone: &Ref{framework, id}})
	}
	executor := func(framework, id string) {
		x := &Executor{Framework: framework, ID: id}
		journal = append(journal, Record{Framework: &Framework{ID: framework}}, Record{ExecutorAccepted: &ExecutorAccepted{Executor: x, Container: framework + id}},
			Record{Accepted: &Accepted{Task: &Task{Framework: framework, ID: id, Executor: x}, Container: framework + id}}, Record{Gone: &Ref{framework, id}},
			Record{ExecutorGone: &ExecutorRef{framework, id}})
	}
	command("quiet", "c")
	executor("quiet", "x")
	for i := range 5 {
		command("busy", fmt.Sprint("c", i))
		executor("busy", fmt.Sprint("x", i))
	}
	past := func(v *View) (tasks, executors []string) {
		for _, v := range v.Completed {
			tasks = append(tasks, v.Task.Framework+" "+v.Task.ID)
		}
		for _, x := range v.PastExecutors {
			executors = append(executors, x.Spec.Framework+" "+x.Spec.ID)
		}
		return tasks, executors
	}
	b := New(cfg, journal, machine.Now{Mono: time.Second, Wall: 1}, rand.New(rand.NewPCG(1, 2)))
	tasks, executors := past(b.View())
	if d := cmp.Diff([]string{"quiet x", "busy x2", "busy x3", "busy x4"}, executors); d != "" {
		t.Errorf("executors (-want +got)\n%s", d)
	}
	// The tasks of executors are bounded by how many there are of all.
	if d := cmp.Diff([]string{"busy x0", "busy x1", "busy c2", "busy x2", "busy c3", "busy x3", "busy c4", "busy x4"}, tasks); d != "" {
		t.Errorf("tasks (-want +got)\n%s", d)
	}
	shown := b.View()
	before := fmt.Sprint(past(shown))
	for i := range 4 {
		b.completed = pushPast(b.completed, &TaskView{Task: &Task{Framework: "busy", ID: fmt.Sprint("n", i)}}, 8, 3, func(o *TaskView) bool { return o.Task.Executor == nil })
	}
	if after := fmt.Sprint(past(shown)); after != before {
		t.Errorf("what a reader has changed under him: %s, and before %s", after, before)
	}
	cfg.MaxPastExecutors = 0
	if tasks, executors := past(New(cfg, journal, machine.Now{Mono: time.Second, Wall: 1}, rand.New(rand.NewPCG(1, 2))).View()); len(executors) != 0 || len(tasks) != 6 {
		t.Errorf("with none: %v, %v", tasks, executors)
	}
}
