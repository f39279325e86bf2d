package workload

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos/resource"
)

// disk gives what comes next so much disk, and a volume that does not count.
func disk(t *Task, mb int64) {
	own := resource.New(resource.Resource{Name: "disk", Kind: resource.Scalar, Scalar: resource.Quantity(mb * 1000)})
	t.Resources = t.Resources.Plus(own)
}

// limited is the limitation that the last status of a task tells of, in MB of disk.
func limited(t *testing.T, s *bench, task string) float64 {
	t.Helper()
	_, state := s.book.find(Ref{"F", task})
	var p mesosv1.TaskStatus
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(state.owed[len(state.owed)-1].Rest, &p); err != nil {
		t.Fatal(err)
	}
	r := p.GetLimitation().GetResources()
	if len(r) != 1 || r[0].GetName() != "disk" {
		t.Fatalf("its limitation is %v", r)
	}
	return r[0].GetScalar().GetValue()
}

func TestWhatTakesMoreDiskThanItHasIsEndedAtOnceAndToldWhy(t *testing.T) {
	t.Run("a command", func(t *testing.T) {
		s := newBench(t)
		s.join()
		in := run("t1")
		disk(in.Task, 10)
		s.step(in)
		c := s.container("t1")
		s.expect(t, &Overdrawn{Container: c}) // it has not started
		s.step(&Launched{Container: c, PID: 7})
		s.expect(t, &Overdrawn{Container: c}, "kill t1 0s")
		s.expect(t, &Overdrawn{Container: c})
		s.expect(t, kill("t1", 0), "kill t1 0s")
		s.step(&Exited{c, Exit{Status: 9, Known: true}})
		if got := s.book.View().Tasks[0].State; got != mesosv1.TaskState_TASK_FAILED || limited(t, s, "t1") != 10 {
			t.Errorf("it ended as %s, with %v MB", got, limited(t, s, "t1"))
		}
	})
	t.Run("a command that ends while its agent is away", func(t *testing.T) {
		s := newBench(t)
		s.join()
		s.step(run("t1"))
		c := s.container("t1")
		s.step(&Launched{Container: c, PID: 7})
		s.step(&Overdrawn{Container: c})
		s.restart()
		s.step(&Recovered{Containers: []Found{{Container: c, PID: 7, Exit: &Exit{Status: 9, Known: true}}}})
		if v := s.book.View().Tasks[0]; v.State != mesosv1.TaskState_TASK_FAILED || v.Statuses[len(v.Statuses)-1].Reason != mesosv1.TaskStatus_REASON_CONTAINER_LIMITATION_DISK {
			t.Errorf("it ended as %s", v.State)
		}
	})
	t.Run("one that is being killed", func(t *testing.T) {
		s := newBench(t)
		s.join()
		s.step(run("t1"))
		c := s.container("t1")
		s.step(&Launched{Container: c, PID: 7})
		s.step(kill("t1", -1))
		s.expect(t, &Overdrawn{Container: c})
		s.expect(t, &Exited{c, Exit{Status: 15, Known: true}}, "forget")
	})
	t.Run("an executor", func(t *testing.T) {
		s := withExecutor(t)
		s.expect(t, &Overdrawn{Container: s.box()}, "to 1: SHUTDOWN", "kill ex 0s")
		s.expect(t, &Exited{s.box(), Exit{Status: 9, Known: true}}, "update t1 FAILED CONTAINER_LIMITATION_DISK", "to 1: closes", "executor ex ended 9", "forget")
	})
	t.Run("a default executor, with its tasks", func(t *testing.T) {
		s := withPool(t)
		s.expect(t, &Overdrawn{Container: s.box()}, "kill t1 0s", "kill t2 0s", "kill ex 0s")
		s.expect(t, &Exited{s.container("t1"), Exit{Status: 9, Known: true}}, "update t1 FAILED CONTAINER_LIMITATION_DISK", "forget")
	})
	t.Run("nobody", func(t *testing.T) {
		s := newBench(t)
		s.expect(t, &Overdrawn{Container: "stranger"})
	})
}
