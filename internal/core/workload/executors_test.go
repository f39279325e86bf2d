package workload

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos"
)

// event puts an event for an executor into words.
func event(e *ToExecutor) string {
	to := fmt.Sprintf("to %d: ", e.Stream)
	switch x := e.Event.(type) {
	case ExecutorSubscribed:
		return to + "SUBSCRIBED " + x.Executor.Spec.ID + " of " + x.Framework.ID
	case LaunchEvent:
		return to + "LAUNCH " + x.Task.ID
	case LaunchGroupEvent:
		to += "LAUNCH_GROUP"
		for _, t := range x.Tasks {
			to += " " + t.ID
		}
		return to
	case KillEvent:
		return fmt.Sprintf("%sKILL %s %s", to, x.Task, x.Grace)
	case AcknowledgedEvent:
		return to + "ACKNOWLEDGED " + x.Task + " " + x.UUID
	case MessageEvent:
		return to + "MESSAGE " + string(x.Data)
	case ShutdownEvent:
		return to + "SHUTDOWN"
	case CloseStream:
		return to + "closes"
	}
	return fmt.Sprintf("%s%T", to, e.Event)
}

var ex = ExecutorRef{"F", "ex"}

// runOn is a task for the executor ex; the first one brings it into being.
func (s *bench) runOn(task string) *Run {
	s.runs++
	in := run(task)
	in.Task.Launch = s.runs
	in.Task.Executor = &Executor{Framework: "F", ID: "ex", Grace: -1, Info: []byte("ex")}
	in.StartsExecutor = s.book.executors[ex] == nil
	return in
}

func update(task, state, uuid string) *ExecutorUpdate {
	return &ExecutorUpdate{ex, status(task, state, uuid)}
}

func status(task, state, uuid string) *mesos.Status {
	return &mesos.Status{
		TaskID: task, State: mesosv1.TaskState(mesosv1.TaskState_value["TASK_"+state]), Source: mesosv1.TaskStatus_SOURCE_EXECUTOR, UUID: uuid, Healthy: -1,
	}
}

func (s *bench) box() string { return s.book.executors[ex].view.Container }

// withExecutor is an executor that runs t1, whose update u1 is acknowledged, over stream 1.
func withExecutor(t *testing.T) *bench {
	t.Helper()
	s := newBench(t)
	s.join()
	s.expect(t, s.runOn("t1"), "launch executor ex")
	s.expect(t, &Launched{Container: s.box(), PID: 7}, "resize to 2")
	s.expect(t, &ExecutorSubscribe{Stream: 1, ExecutorRef: ex}, "to 1: SUBSCRIBED ex of F", "to 1: LAUNCH t1")
	s.expect(t, update("t1", "RUNNING", "u1"), "update t1 RUNNING", "to 1: ACKNOWLEDGED t1 u1")
	s.expect(t, s.ack("t1"))
	return s
}

func TestAnExecutorsLifeFromItsFirstTaskToItsEnd(t *testing.T) {
	s := withExecutor(t)
	s.expect(t, s.runOn("t2"), "to 1: LAUNCH t2", "resize to 3")
	s.expect(t, update("t1", "FINISHED", "u2"), "update t1 FINISHED", "to 1: ACKNOWLEDGED t1 u2", "resize to 2")
	s.expect(t, s.ack("t1"))
	s.expect(t, &SchedulerMessage{ex, []byte("hi")}, "to 1: MESSAGE hi")
	s.expect(t, &ExecutorMessage{ex, []byte("ho")}, "message of ex: ho")
	s.expect(t, &Exited{s.box(), Exit{Status: 0x300, Known: true}},
		"update t2 FAILED EXECUTOR_TERMINATED", "to 1: closes", "executor ex ended 768", "forget")
	s.expect(t, &Exited{"gone", Exit{Known: true}}, "forget")
	s.expect(t, s.ack("t2"))
	if j := s.book.Journal(); len(j) != 1 {
		t.Errorf("%d records are left of it", len(j))
	}
	if v := s.book.View(); len(v.Executors) != 0 || len(v.PastExecutors) != 1 || len(v.Completed) != 2 {
		t.Errorf("it shows %d executors, %d of the past, %d tasks of the past", len(v.Executors), len(v.PastExecutors), len(v.Completed))
	}
}

func TestAnExecutorStaysWithoutTasksAndSoDoesItsFramework(t *testing.T) {
	s := withExecutor(t)
	s.step(update("t1", "FINISHED", "u2"))
	s.expect(t, s.ack("t1"))
	if v := s.book.View(); len(v.Frameworks) != 1 || len(v.Executors) != 1 {
		t.Fatalf("%d frameworks and %d executors are left", len(v.Frameworks), len(v.Executors))
	}
	s.expect(t, s.runOn("t2"), "to 1: LAUNCH t2", "resize to 2")
	s.expect(t, &ShutdownFramework{"F"}, "to 1: SHUTDOWN")
	s.expect(t, &Exited{s.box(), Exit{Known: true}}, "to 1: closes", "executor ex ended 0", "forget")
	if v := s.book.View(); len(v.Frameworks)+len(v.Tasks) != 0 {
		t.Errorf("%d frameworks and %d tasks are left", len(v.Frameworks), len(v.Tasks))
	}
}

func TestAnExecutorThatEndsBeforeItsRegistrationIsAnsweredIsTold(t *testing.T) {
	s := withExecutor(t)
	s.step(&Unlinked{})
	s.step(&Linked{Link: 2, Epoch: 5}) // the registration names it
	s.expect(t, &Exited{s.box(), Exit{Status: 9, Known: true}}, "to 1: closes", "executor ex ended 9", "forget")
}

func TestTasksWaitForTheirExecutorInTheOrderOfTheirLaunches(t *testing.T) {
	s := newBench(t)
	s.join()
	s.expect(t, s.runOn("t9"), "launch executor ex")
	s.expect(t, s.runOn("t1"))
	s.expect(t, s.runOn("t5"))
	s.expect(t, kill("t1", -1), "update t1 KILLED TASK_KILLED_DURING_LAUNCH")
	s.expect(t, &ExecutorSubscribe{Stream: 1, ExecutorRef: ex}, "to 1: SUBSCRIBED ex of F", "to 1: LAUNCH t9", "to 1: LAUNCH t5") // before its Launched
	s.expect(t, &Launched{Container: s.box(), PID: 7}, "resize to 3")
	if s.book.Deadline() != 11*time.Second { // of the update
		t.Error("an executor that has subscribed is waited for")
	}
}

func TestAnExecutorWhoseFirstTasksWereAllKilledIsEnded(t *testing.T) {
	s := newBench(t)
	s.join()
	s.step(s.runOn("t1"))
	s.step(&Launched{Container: s.box(), PID: 7})
	s.step(s.runOn("t2"))
	s.expect(t, kill("t1", -1), "update t1 KILLED TASK_KILLED_DURING_LAUNCH", "resize to 2")
	s.expect(t, kill("t2", -1), "update t2 KILLED TASK_KILLED_DURING_LAUNCH", "resize to 1", "kill ex 5s")
	s.expect(t, &ExecutorSubscribe{Stream: 1, ExecutorRef: ex}, "to 1: SHUTDOWN")
}

func TestAnExecutorThatDoesNotSubscribeIsEnded(t *testing.T) {
	s := newBench(t)
	s.join()
	s.step(s.runOn("t1"))
	s.step(&Launched{Container: s.box(), PID: 7})
	if d := s.book.Deadline() - s.now; d != time.Minute {
		t.Fatalf("it has %s", d)
	}
	s.now = s.book.Deadline()
	s.expect(t, nil, "kill ex 0s")
	s.expect(t, &Exited{s.box(), Exit{Status: 9, Known: true}}, "update t1 FAILED EXECUTOR_REGISTRATION_TIMEOUT", "executor ex ended 9", "forget")
}

func TestASecondSubscriptionTakesThePlaceOfTheFirst(t *testing.T) {
	s := withExecutor(t)
	s.expect(t, &ExecutorSubscribe{Stream: 2, ExecutorRef: ex}, "to 1: closes", "to 2: SUBSCRIBED ex of F")
	s.expect(t, &ExecutorClosed{1})
	s.expect(t, kill("t1", time.Second), "to 2: KILL t1 1s")
	s.expect(t, &ExecutorClosed{2})
	s.expect(t, kill("t1", 0)) // it waits
	s.expect(t, &ExecutorSubscribe{Stream: 3, ExecutorRef: ex}, "to 3: SUBSCRIBED ex of F", "to 3: KILL t1 0s")
	s.expect(t, &ExecutorSubscribe{Stream: 4, ExecutorRef: ExecutorRef{"F", "other"}}, "to 4: SHUTDOWN", "to 4: closes")
}

func TestWhatAnExecutorTells(t *testing.T) {
	s := withExecutor(t)
	s.expect(t, update("t1", "RUNNING", "u1"), "to 1: ACKNOWLEDGED t1 u1") // again
	s.expect(t, update("foreign", "RUNNING", "u3"))
	s.step(run("plain"))
	s.expect(t, update("plain", "FINISHED", "u4"))
	s.expect(t, &ExecutorUpdate{ExecutorRef{"F", "other"}, status("t1", "FAILED", "u5")})
	s.expect(t, update("t1", "RUNNING", "u6"), "update t1 RUNNING", "to 1: ACKNOWLEDGED t1 u6")
	s.expect(t, update("t1", "RUNNING", "u6"), "to 1: ACKNOWLEDGED t1 u6")
	s.expect(t, update("t1", "FINISHED", "u7"), "to 1: ACKNOWLEDGED t1 u7", "resize to 1")
	s.expect(t, update("t1", "FAILED", "u8"), "to 1: ACKNOWLEDGED t1 u8") // it has ended already
	s.expect(t, s.ack("t1"), "update t1 FINISHED")
	s.expect(t, s.ack("t1"))
	s.expect(t, &ExecutorSubscribe{Stream: 2, ExecutorRef: ex, Updates: []*mesos.Status{status("t1", "FINISHED", "u7")}},
		"to 1: closes", "to 2: SUBSCRIBED ex of F", "to 2: ACKNOWLEDGED t1 u7") // of a task that is forgotten
}

func TestAnUpdateIsStampedWithItsExecutorsContainer(t *testing.T) {
	s := withExecutor(t)
	s.cfg.IP, s.book.cfg.IP = "10.0.0.1", "10.0.0.1"
	own, err := proto.MarshalOptions{AllowPartial: true}.Marshal(&mesosv1.TaskStatus{ContainerStatus: &mesosv1.ContainerStatus{NetworkInfos: []*mesosv1.NetworkInfo{{Name: new("mine")}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		rest       []byte
	}{
		{"that says nothing of it", "10.0.0.1", nil},
		{"that names a network", "mine", own},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := update("t1", "RUNNING", "u-"+c.name)
			u.Status.Rest = c.rest
			s.step(u)
			_, state := s.book.find(Ref{"F", "t1"})
			got := state.owed[len(state.owed)-1]
			var p mesosv1.TaskStatus
			if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(got.Rest, &p); err != nil {
				t.Fatal(err)
			}
			cs := p.GetContainerStatus()
			if cs.GetContainerId().GetValue() != s.box() || cs.GetExecutorPid() != 7 || !strings.Contains(cs.String(), c.want) || len(cs.GetNetworkInfos()) != 1 {
				t.Errorf("container_status is %v", cs)
			}
			if got.ExecutorID != "ex" || got.AgentID != "S1" || got.Timestamp == 0 {
				t.Errorf("the status is %+v", got)
			}
		})
	}
}

func TestEveryStatusSaysWhereItsTaskIsReached(t *testing.T) {
	networks := func(name string) []*mesosv1.NetworkInfo { return []*mesosv1.NetworkInfo{{Name: &name}} }
	names := func(s *bench, task string) string {
		t.Helper()
		var names []string
		_, state := s.book.find(Ref{"F", task})
		for _, owed := range state.owed {
			var p mesosv1.TaskStatus
			if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(owed.Rest, &p); err != nil {
				t.Fatal(err)
			}
			for _, n := range p.GetContainerStatus().GetNetworkInfos() {
				names = append(names, owed.State.String()[len("TASK_"):]+" "+n.GetName())
			}
		}
		return strings.Join(names, ", ")
	}
	t.Run("a command's", func(t *testing.T) {
		s := newBench(t)
		s.join()
		s.step(run("t1"))
		c := s.container("t1")
		s.step(&Joined{Container: c, Networks: networks("bridge")})
		s.step(&Launched{Container: c, PID: 7})
		s.step(&Exited{Container: c, Exit: Exit{Known: true}})
		if got := names(s, "t1"); got != "STARTING bridge, RUNNING bridge, FINISHED bridge" {
			t.Errorf("it says %s", got)
		}
	})
	t.Run("an executor's that speaks before its launch is over", func(t *testing.T) {
		s := newBench(t)
		s.join()
		s.step(s.runOn("t1"))
		s.step(&Joined{Container: s.box(), Networks: networks("bridge")})
		s.step(&ExecutorSubscribe{Stream: 1, ExecutorRef: ex})
		s.step(update("t1", "RUNNING", "u1"))
		if got := names(s, "t1"); got != "RUNNING bridge" {
			t.Errorf("it says %s", got)
		}
	})
	t.Run("of a container that nobody knows", func(t *testing.T) {
		s := newBench(t)
		s.step(&Joined{Container: "stranger", Networks: networks("bridge")})
		if len(s.book.networks) != 0 {
			t.Errorf("the book keeps %v", s.book.networks)
		}
	})
	t.Run("of what has ended, nothing is kept", func(t *testing.T) {
		s := withExecutor(t)
		s.step(run("t2"))
		for _, c := range []string{s.box(), s.container("t2")} {
			s.step(&Joined{Container: c, Networks: networks("bridge")})
		}
		s.step(update("t1", "FINISHED", "u2"))
		s.step(s.ack("t1"))
		s.step(s.ack("t1")) // the executor goes on, and its network with it
		if len(s.book.networks) != 2 {
			t.Errorf("the book keeps %v", s.book.networks)
		}
		s.step(&ShutdownFramework{"F"})
		s.step(&Launched{Container: s.container("t2"), Failure: LaunchCanceled})
		s.step(&Exited{s.box(), Exit{Known: true}})
		if len(s.book.networks) != 0 {
			t.Errorf("the book keeps %v", s.book.networks)
		}
	})
}

func TestAnExecutorThatTellsTooMuchIsNotTaken(t *testing.T) {
	s := withExecutor(t)
	for i := range maxOwed {
		s.step(update("t1", "RUNNING", fmt.Sprint("n", i)))
	}
	s.expect(t, update("t1", "RUNNING", "more"))
	s.expect(t, update("t1", "FINISHED", "last"), "to 1: ACKNOWLEDGED t1 last", "resize to 1")
}

func TestHowExecutorsAreEnded(t *testing.T) {
	t.Run("one that obeys", func(t *testing.T) {
		s := withExecutor(t)
		s.expect(t, &ShutdownExecutor{ex}, "to 1: SHUTDOWN")
		s.expect(t, &ShutdownExecutor{ex})
		s.expect(t, s.runOn("t2"), "update t2 LOST EXECUTOR_TERMINATED")
		s.expect(t, update("t1", "KILLED", "u2"), "update t1 KILLED", "to 1: ACKNOWLEDGED t1 u2")
		s.expect(t, &Exited{s.box(), Exit{Known: true}}, "to 1: closes", "executor ex ended 0", "forget")
	})
	t.Run("one that does not", func(t *testing.T) {
		s := withExecutor(t)
		s.step(&ShutdownExecutor{ex})
		s.now = s.book.Deadline()
		if s.now != 6*time.Second {
			t.Errorf("it has until %s", s.now)
		}
		s.expect(t, nil, "kill ex 0s")
		if s.book.Deadline() != machine.Never {
			t.Error("it is killed and something is due")
		}
	})
	t.Run("one that is being launched", func(t *testing.T) {
		s := newBench(t)
		s.join()
		s.step(s.runOn("t1"))
		s.expect(t, &ShutdownExecutor{ex}, "cancel ex")
		s.expect(t, &Launched{Container: s.box(), Failure: LaunchCanceled},
			"update t1 KILLED TASK_KILLED_DURING_LAUNCH", "executor ex ended -1", "forget")
	})
	t.Run("one whose process came first", func(t *testing.T) {
		s := newBench(t)
		s.join()
		s.step(s.runOn("t1"))
		s.step(&ShutdownExecutor{ex})
		s.expect(t, &Launched{Container: s.box(), PID: 7}, "kill ex 5s")
	})
	t.Run("one that is not there", func(t *testing.T) {
		s := newBench(t)
		s.join()
		s.expect(t, &ShutdownExecutor{ex})
	})
	t.Run("with an agent that leaves", func(t *testing.T) {
		s := withExecutor(t)
		s.step(&Recovered{Containers: []Found{{Container: s.box(), PID: 7}}})
		s.expect(t, &Leave{}, "to 1: SHUTDOWN")
		s.expect(t, &Exited{s.box(), Exit{Known: true}}, "to 1: closes", "executor ex ended 0", "unregister", "forget", "left")
	})
}

func TestATaskWhoseExecutorIsNotThere(t *testing.T) {
	s := newBench(t)
	s.join()
	in := s.runOn("t1")
	in.StartsExecutor = false
	s.expect(t, in, "update t1 LOST EXECUTOR_TERMINATED")
	in = s.runOn("t2")
	in.Task.Refused = "no"
	s.expect(t, in, "update t2 FAILED CONTAINER_LAUNCH_FAILED", "executor ex ended -1") // else the master would count it
}

func TestALaunchOfAnExecutorThatFails(t *testing.T) {
	for _, c := range []struct {
		failure LaunchFailure
		want    string
	}{
		{LaunchRefused, "FAILED CONTAINER_LAUNCH_FAILED"}, {UserUnknown, "LOST EXECUTOR_TERMINATED"}, {ExecFailed, "FAILED EXECUTOR_TERMINATED"},
	} {
		s := newBench(t)
		s.join()
		s.step(s.runOn("t1"))
		s.step(s.runOn("t2"))
		s.expect(t, &Launched{Container: s.box(), Failure: c.failure}, "update t1 "+c.want, "update t2 "+c.want, "executor ex ended -1", "forget")
	}
}

func TestAnExecutorThatTookTooMuchMemory(t *testing.T) {
	s := withExecutor(t)
	s.expect(t, &Exited{s.box(), Exit{Status: 9, Known: true, OOM: true, Limit: 64 << 20}},
		"update t1 FAILED CONTAINER_LIMITATION_MEMORY", "to 1: closes", "executor ex ended 9", "forget")
}

func TestWhatARestartMakesOfExecutors(t *testing.T) {
	found := func(s *bench, exit *Exit) *Recovered {
		return &Recovered{Containers: []Found{{Container: s.box(), PID: 7, Exit: exit}}}
	}
	rejoin := func(t *testing.T, s *bench, want ...string) {
		t.Helper()
		s.step(&Linked{9, 5})
		s.expect(t, &Registered{Agent: "S1", Info: []byte("S1")}, want...)
	}
	type played func(t *testing.T, restart func(*bench))
	both := func(t *testing.T, name string, play played) {
		t.Helper()
		t.Run(name, func(t *testing.T) { play(t, func(s *bench) { s.restart() }) })
		t.Run(name+", from a compacted journal", func(t *testing.T) {
			play(t, func(s *bench) { s.step(&Compact{}); s.restart() })
		})
	}
	both(t, "it comes back with what was not acknowledged", func(t *testing.T, restart func(*bench)) {
		t.Helper()
		s := withExecutor(t)
		s.step(s.runOn("t2"))
		s.step(s.runOn("t3")) // which never comes to it
		restart(s)
		s.expect(t, found(s, nil), "resize to 4")
		rejoin(t, s)
		s.expect(t, &ExecutorSubscribe{Stream: 5, ExecutorRef: ex, Tasks: []string{"t2"}, Updates: []*mesos.Status{status("t2", "RUNNING", "u2"), status("t1", "FINISHED", "u3")}},
			"to 5: SUBSCRIBED ex of F", "update t2 RUNNING", "to 5: ACKNOWLEDGED t2 u2", "update t1 FINISHED", "to 5: ACKNOWLEDGED t1 u3",
			"update t3 LOST AGENT_RESTARTED", "resize to 3", "resize to 2")
		s.now += time.Minute
		if d := s.book.Deadline(); d > s.now {
			t.Errorf("the next is due at %s", d)
		}
	})
	both(t, "a task that waited for it still does", func(t *testing.T, restart func(*bench)) {
		t.Helper()
		s := newBench(t)
		s.join()
		s.step(s.runOn("t1"))
		s.step(&Launched{Container: s.box(), PID: 7})
		restart(s)
		s.step(found(s, nil))
		s.expect(t, &ExecutorSubscribe{Stream: 5, ExecutorRef: ex}, "to 5: SUBSCRIBED ex of F", "to 5: LAUNCH t1")
	})
	both(t, "it does not come back", func(t *testing.T, restart func(*bench)) {
		t.Helper()
		s := withExecutor(t)
		restart(s)
		s.step(found(s, nil))
		rejoin(t, s)
		s.now = s.book.Deadline()
		s.expect(t, nil, "kill ex 0s")
		s.expect(t, &Exited{s.box(), Exit{Status: 9, Known: true}}, "update t1 FAILED EXECUTOR_REREGISTRATION_TIMEOUT", "executor ex ended 9", "forget")
	})
	both(t, "it ended meanwhile", func(t *testing.T, restart func(*bench)) {
		t.Helper()
		s := withExecutor(t)
		restart(s)
		s.expect(t, found(s, &Exit{Known: true}), "forget")
		rejoin(t, s, "update t1 FAILED EXECUTOR_TERMINATED")
	})
	both(t, "it was being ended", func(t *testing.T, restart func(*bench)) {
		t.Helper()
		s := withExecutor(t)
		s.step(&ShutdownExecutor{ex})
		restart(s)
		s.expect(t, found(s, nil), "kill ex 5s")
		s.expect(t, &ExecutorSubscribe{Stream: 5, ExecutorRef: ex}, "to 5: SHUTDOWN")
	})
	both(t, "no container is found", func(t *testing.T, restart func(*bench)) {
		t.Helper()
		s := withExecutor(t)
		restart(s)
		s.expect(t, &Recovered{}, "forget")
		rejoin(t, s, "update t1 FAILED EXECUTOR_TERMINATED")
	})
	both(t, "its launch came to nothing", func(t *testing.T, restart func(*bench)) {
		t.Helper()
		s := newBench(t)
		s.join()
		s.step(s.runOn("t1"))
		restart(s)
		s.expect(t, &Recovered{}, "forget")
		rejoin(t, s, "update t1 LOST AGENT_RESTARTED")
	})
	both(t, "a kill that it did not hear is owed", func(t *testing.T, restart func(*bench)) {
		t.Helper()
		s := withExecutor(t)
		s.step(&ExecutorClosed{1})
		s.step(kill("t1", time.Second))
		restart(s)
		s.step(found(s, nil))
		s.expect(t, &ExecutorSubscribe{Stream: 5, ExecutorRef: ex}, "to 5: SUBSCRIBED ex of F", "to 5: KILL t1 1s")
	})
}

func TestARegistrationNamesTheExecutors(t *testing.T) {
	s := withExecutor(t)
	s.step(&Unlinked{})
	s.expect(t, &Linked{7, 5}, "register S1 t1:RUNNING ex")
	s.step(&Exited{s.box(), Exit{Known: true}})
	s.expect(t, &Linked{8, 5}, "register S1 t1:FAILED")
}

func TestTheNumbersOfCausesStandInJournals(t *testing.T) {
	causes := []EndCause{NotEnding, EndAsked, EndUnregistered, EndNotBack, EndFrameworkGone, EndIdle, EndDisk}
	if d := cmp.Diff([]EndCause{0, 1, 2, 3, 4, 5, 6}, causes); d != "" || slices.Contains(endCauses[1:], "") {
		t.Error(d)
	}
}
