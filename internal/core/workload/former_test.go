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
