package workload

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos/resource"
)

func resources(text string) resource.List {
	l, err := resource.Parse(text, "*")
	if err != nil {
		panic(err)
	}
	return l
}

func forProbe(l resource.List) resource.List {
	return l.PushReservation(resource.Reservation{Dynamic: true, Role: "probe"})
}

func volumeOf(id string, mb resource.Quantity) resource.List {
	return resource.New(resource.Resource{Name: "disk", Scalar: mb * resource.One, Traits: &resource.Traits{
		Reservations: []resource.Reservation{{Dynamic: true, Role: "probe"}}, Disk: &resource.Disk{PersistenceID: id},
	}})
}

func reserve(uuid, what string) *Apply {
	l := resources(what)
	return &Apply{&Operation{UUID: uuid, Framework: "F", ID: "id-" + uuid, Change: resource.Change{Consumed: l, Converted: forProbe(l)}}}
}

func create(uuid, id string, mb resource.Quantity) *Apply {
	v := volumeOf(id, mb)
	return &Apply{&Operation{UUID: uuid, Framework: "F", ID: "id-" + uuid, Change: resource.Change{Consumed: v.WithoutVolumes(), Converted: v}}}
}

func undo(uuid string, of *Apply) *Apply {
	return &Apply{&Operation{UUID: uuid, Framework: "F", ID: "id-" + uuid, Change: of.Operation.Undo()}}
}

// ledgerBench is a bench whose agent has resources.
func ledgerBench(tb interface{ Fatalf(string, ...any) }) *bench {
	s := newBench(tb)
	s.cfg.Resources = resources("cpus:4;mem:1024;disk:100")
	s.restart()
	s.step(&Recovered{})
	s.join()
	return s
}

func (s *bench) status(op string) string {
	if v := s.book.operation(op); v != nil {
		return v.UUID
	}
	return ""
}

func TestAnOperationIsAppliedOnceAndItsEndIsToldUntilItIsAcknowledged(t *testing.T) {
	s := ledgerBench(t)
	s.expect(t, reserve("o1", "cpus:1;disk:50"), "operation o1 FINISHED")
	s.expect(t, reserve("o1", "cpus:1;disk:50"))
	s.expect(t, create("o2", "v", 20), "operation o2 FINISHED")
	want := "cpus:3;cpus(probe)<dynamic probe>:1;disk:50;disk(probe)<dynamic probe>:30;disk(probe)<dynamic probe, disk v>:20;mem:1024"
	if got := s.book.View().Total.String(); got != want {
		t.Errorf("it has %s, want %s", got, want)
	}
	s.expect(t, &OperationAck{Operation: "o2", UUID: "another"})
	s.now += 11 * time.Second
	s.expect(t, nil, "operation o1 FINISHED", "operation o2 FINISHED")
	s.now += 11 * time.Second
	s.expect(t, nil)
	s.now += 10 * time.Second
	s.expect(t, nil, "operation o1 FINISHED", "operation o2 FINISHED")
	s.expect(t, &OperationAck{Operation: "o1", UUID: s.status("o1")})
	s.expect(t, &Resend{Framework: "F"}, "operation o2 FINISHED")
	s.expect(t, &Resend{Framework: "G"})
	s.restart()
	if got := s.book.View().Total.String(); got != want {
		t.Errorf("after a restart it has %s, want %s", got, want)
	}
	s.step(&Recovered{})
	s.link++
	s.step(&Linked{Link: s.link, Epoch: 5})
	s.expect(t, create("o2", "v", 20)) // it was applied before the restart
	s.expect(t, &Registered{Agent: "S1", Info: []byte("S1")}, "operation o2 FINISHED")
	s.step(&Compact{})
	s.restart()
	if got := s.book.View().Total.String(); got != want || s.status("o2") == "" || s.status("o1") != "" {
		t.Errorf("after a compaction it has %s, want %s", got, want)
	}
}

func TestAnOperationThatTheResourcesDoNotAllowChangesNothing(t *testing.T) {
	s := ledgerBench(t)
	s.expect(t, reserve("o1", "cpus:5"), "operation o1 FAILED")
	s.expect(t, create("o2", "v", 1), "operation o2 FAILED")
	bad := reserve("o3", "cpus:1")
	bad.Operation.Refused = "type: is not known"
	s.expect(t, bad, "operation o3 FAILED")
	if got := s.book.View().Total.String(); got != "cpus:4;disk:100;mem:1024" {
		t.Errorf("it has %s", got)
	}
	if v := s.book.operation("o1"); !strings.Contains(v.Message, "cpus:5 are needed") {
		t.Error(v.Message)
	}
}

func TestAnOperationThatNeverArrivedIsToldToBeDropped(t *testing.T) {
	s := ledgerBench(t)
	s.expect(t, reserve("o1", "cpus:1"), "operation o1 FINISHED")
	s.expect(t, &Registered{Agent: "S1", Info: []byte("S1"), UnknownOperations: []*Operation{reserve("o1", "cpus:1").Operation, reserve("o2", "cpus:1").Operation}},
		"operation o1 FINISHED", "operation o2 DROPPED")
	s.expect(t, reserve("o2", "cpus:1")) // late is too late
	s.restart()
	if s.status("o2") == "" || s.book.View().Total.Scalar("cpus") != 4000 || s.book.View().Total.ReservedTo("probe").Scalar("cpus") != 1000 {
		t.Errorf("it has %s", s.book.View().Total)
	}
}

func TestWhatADestroyedVolumeHeldIsRemovedOverARestartAndNotThatOfItsSuccessor(t *testing.T) {
	s := ledgerBench(t)
	s.step(reserve("o1", "disk:50"))
	made := create("o2", "v", 20)
	s.step(made)
	s.expect(t, undo("o3", made), "operation o3 FINISHED", "remove v")
	first := s.book.doomed[0].UUID
	s.step(create("o4", "v", 20))
	s.restart()
	s.expect(t, &Recovered{}, "remove v")
	if s.book.doomed[0].UUID != first {
		t.Error("it is another volume that is doomed")
	}
	s.expect(t, &VolumeRemoved{UUID: first}, "clear")
	s.expect(t, &VolumeRemoved{UUID: first})
	s.step(&Compact{})
	s.restart()
	s.expect(t, &Recovered{})
	if s.book.total.FindVolume("probe", "v") == nil {
		t.Error("the second volume is gone")
	}
}

func TestAVolumeIsNotDestroyedUnderATaskThatUsesIt(t *testing.T) {
	s := ledgerBench(t)
	s.step(reserve("o1", "disk:50"))
	made := create("o2", "v", 20)
	s.step(made)
	task := &Task{Framework: "F", ID: "t", Name: "t", User: "root", Resources: volumeOf("v", 20)}
	s.step(&Run{Framework: &Framework{ID: "F"}, Task: task})
	s.expect(t, undo("o3", made), "operation o3 FAILED")
	s.step(&Launched{Container: s.container("t"), PID: 7})
	s.step(&Exited{Container: s.container("t"), Exit: Exit{Known: true}})
	s.expect(t, undo("o4", made), "operation o4 FINISHED", "remove v")
}

func TestOperationsOfAFrameworkThatIsGoneAreForgottenAndWhatTheyDidStays(t *testing.T) {
	s := ledgerBench(t)
	s.step(reserve("o1", "cpus:1"))
	s.step(&ShutdownFramework{Framework: "F"})
	if s.status("o1") != "" || s.book.total.ReservedTo("probe").IsEmpty() {
		t.Errorf("it has %s, and the operation's status %x", s.book.total, s.status("o1"))
	}
	s.restart()
	if s.status("o1") != "" || s.book.total.ReservedTo("probe").IsEmpty() {
		t.Errorf("after a restart it has %s, and the operation's status %x", s.book.total, s.status("o1"))
	}
}

func TestATaskForAnExecutorThatRunsWaitsUntilItFindsItsVolumes(t *testing.T) {
	s := ledgerBench(t)
	s.step(reserve("o1", "disk:50"))
	s.step(create("o2", "v", 20))
	run := func(id string, what resource.List) []string {
		return s.step(&Run{Framework: &Framework{ID: "F"}, StartsExecutor: id == "t1", Task: &Task{
			Framework: "F", ID: id, Name: id, Resources: what, Executor: &Executor{Framework: "F", ID: "x"},
		}})
	}
	run("t1", resources("cpus:1"))
	box := s.book.executors[ExecutorRef{"F", "x"}].view.Container
	s.step(&Launched{Container: box, PID: 7})
	s.step(&ExecutorSubscribe{ExecutorRef: ExecutorRef{"F", "x"}, Stream: 1})
	if got := strings.Join(run("t2", volumeOf("v", 20)), ", "); got != "resize to 3, place t2" {
		t.Errorf("the task comes: %s", got)
	}
	if got := s.step(&VolumesPlaced{Ref: Ref{"F", "t2"}, Container: box}); !slices.ContainsFunc(got, func(w string) bool { return strings.Contains(w, "t2") }) {
		t.Errorf("its volume is there: %v", got)
	}
	run("t3", volumeOf("v", 20))
	if got := strings.Join(s.step(&VolumesPlaced{Ref: Ref{"F", "t3"}, Container: box, Words: "no"}), ", "); !strings.Contains(got, "update t3 FAILED CONTAINER_LAUNCH_FAILED") {
		t.Errorf("its volume cannot be there: %s", got)
	}
}

// TestWhateverDiesWhenNoOperationIsDoneTwiceOrHalf: the journal is cut off anywhere between two records, and the total is
// always what the records say of which operations were applied.
func TestWhateverDiesWhenNoOperationIsDoneTwiceOrHalf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := ledgerBench(t)
		applied, n := map[string]*Apply{}, 0
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1:
				n++
				in := reserve(fmt.Sprint("o", n), fmt.Sprintf("cpus:0.%d", rapid.IntRange(1, 9).Draw(t, "cpus")))
				s.step(in)
				applied[in.Operation.UUID] = in
			case 2:
				if n > 0 { // again
					s.step(applied[fmt.Sprint("o", rapid.IntRange(1, n).Draw(t, "which"))])
				}
			case 3:
				if n > 0 {
					id := fmt.Sprint("o", rapid.IntRange(1, n).Draw(t, "acked"))
					s.step(&OperationAck{Operation: id, UUID: s.status(id)})
				}
			case 4:
				s.step(&Compact{})
			case 5:
				s.restart()
				s.step(&Recovered{})
				s.join()
			}
			for id := range applied { // one whose end is acknowledged never comes again: its master sends it once
				if s.status(id) == "" {
					applied[id] = &Apply{&Operation{UUID: "never-" + id, Change: resource.Change{Consumed: resources("cpus:99")}}}
				}
			}
			var want resource.Quantity
			for _, r := range s.journal {
				if r.OperationEnded != nil && r.OperationEnded.Kept != nil {
					want = r.OperationEnded.Kept.Resources.Scalar("cpus")
				} else if r.Kept != nil {
					want = r.Kept.Resources.Scalar("cpus")
				}
			}
			if got := s.book.total.ReservedTo("probe").Scalar("cpus"); got != want {
				t.Fatalf("%v are reserved, and the journal says %v", got, want)
			}
			if sum := s.book.total.Scalar("cpus"); sum != 4000 {
				t.Fatalf("there are %v cpus", sum)
			}
		}
		if d := s.book.Deadline(); d != machine.Never && len(s.book.ended.Items()) == 0 && len(s.book.alarms) == 0 {
			t.Fatalf("it wants to be woken at %v for nothing", d)
		}
	})
}
