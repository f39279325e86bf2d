package workload

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
)

// group is a group of tasks for the executor ex, which the first group brings into being.
func (s *bench) group(pool bool, ids ...string) *RunGroup {
	in := &RunGroup{Framework: run("x").Framework, StartsExecutor: s.book.executors[ex] == nil}
	first := s.runs + 1
	for _, id := range ids {
		s.runs++
		t := run(id).Task
		t.Launch, t.Group, t.GroupSize = s.runs, first, len(ids)
		t.Executor = &Executor{Framework: "F", ID: "ex", Grace: -1, Info: []byte("ex"), Default: pool}
		in.Tasks = append(in.Tasks, t)
	}
	return in
}

// launched starts the process of a task.
func (s *bench) launched(task string, pid uint32) *Launched {
	return &Launched{Container: s.container(task), PID: pid}
}

// quietly steps and acknowledges until nothing is owed.
func (s *bench) quietly(in In) {
	s.step(in)
	for again := true; again; {
		again = false
		for _, v := range s.book.View().Tasks {
			if len(s.book.states[v.ref()].owed) > 0 {
				s.step(s.ack(v.Task.ID))
				again = true
			}
		}
	}
}

// withPool is a default executor that runs t1 and t2, with nothing owed.
func withPool(t *testing.T) *bench {
	t.Helper()
	s := newBench(t)
	s.step(&Recovered{})
	s.join()
	s.expect(t, s.group(true, "t1", "t2"), "launch executor ex")
	s.expect(t, &Launched{Container: s.box(), PID: 7}, "resize to 3", "launch t1 in ex", "launch t2 in ex")
	s.quietly(s.launched("t1", 11))
	s.quietly(s.launched("t2", 12))
	return s
}

func orphaned(s *bench, task string) *Exited {
	return &Exited{s.container(task), Exit{Status: 9, Known: true, Orphaned: true}}
}

func TestAGroupsLifeFromItsLaunchToTheEndOfItsExecutor(t *testing.T) {
	s := newBench(t)
	s.join()
	s.expect(t, s.group(true, "t1", "t2"), "launch executor ex")
	s.expect(t, &Launched{Container: s.box(), PID: 7}, "resize to 3", "launch t1 in ex", "launch t2 in ex")
	s.expect(t, s.launched("t1", 11), "update t1 STARTING", "watch t1")
	s.expect(t, s.launched("t2", 12), "update t2 STARTING", "watch t2")
	s.expect(t, s.ack("t1"), "update t1 RUNNING")
	s.expect(t, exited(s, "t2", 0), "forget", "resize to 2") // it waits for its acknowledgement
	s.expect(t, s.ack("t1"))
	s.expect(t, exited(s, "t1", 0), "update t1 FINISHED", "forget", "kill ex 0s")
	s.expect(t, &Exited{s.box(), Exit{Known: true}}, "executor ex ended 0", "forget")
	s.quietly(nil)
	if j := s.book.Journal(); len(j) != 1 {
		t.Errorf("%d records are left of it", len(j))
	}
}

func TestAStatusOfAGroupsTaskNamesItsContainerAndExecutor(t *testing.T) {
	s := newBench(t)
	s.join()
	s.step(s.group(true, "t1"))
	s.step(&Launched{Container: s.box(), PID: 7})
	s.step(s.launched("t1", 11))
	v, state := s.book.find(Ref{"F", "t1"})
	var st mesosv1.TaskStatus
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(state.owed[0].Rest, &st); err != nil {
		t.Fatal(err)
	}
	id := st.GetContainerStatus().GetContainerId()
	if id.GetParent().GetValue() != s.box() || id.GetValue() != strings.TrimPrefix(v.Container, s.box()+".") || state.owed[0].ExecutorID != "ex" {
		t.Errorf("container %v of executor %q", id, state.owed[0].ExecutorID)
	}
	if v.Top() != s.box() {
		t.Errorf("its executor's container is %s", v.Top())
	}
}

func TestATaskThatDoesNotEndWellTakesItsGroupAlongAndNoOther(t *testing.T) {
	for name, c := range map[string]struct {
		in   func(*bench) In
		want []string
	}{
		"it fails":       {func(s *bench) In { return exited(s, "t1", 0x100) }, []string{"update t1 FAILED", "update t2 KILLING", "forget", "kill t2 3s", "resize to 3"}},
		"it is too slow": {func(s *bench) In { return &Exited{s.container("t1"), Exit{Status: 15, Known: true, TimedOut: true}} }, []string{"update t1 FAILED MAX_COMPLETION_TIME_REACHED", "update t2 KILLING", "forget", "kill t2 3s", "resize to 3"}},
		"it ends well":   {func(s *bench) In { return exited(s, "t1", 0) }, []string{"update t1 FINISHED", "forget", "resize to 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := withPool(t)
			s.expect(t, s.group(true, "u1"), "resize to 4", "launch u1 in ex")
			s.quietly(s.launched("u1", 13))
			s.expect(t, c.in(s), c.want...)
		})
	}
	t.Run("it is killed", func(t *testing.T) {
		s := withPool(t)
		s.expect(t, kill("t1", -1), "update t1 KILLING", "kill t1 3s")
		s.expect(t, s.ack("t1"))
		s.expect(t, exited(s, "t1", 15), "update t1 KILLED", "update t2 KILLING", "forget", "kill t2 3s", "resize to 2")
		s.expect(t, s.ack("t2"))
		s.expect(t, exited(s, "t2", 15), "update t2 KILLED", "forget", "kill ex 0s")
	})
}

func TestAGroupOfWhichOneCannotStartEnds(t *testing.T) {
	s := newBench(t)
	s.join()
	s.step(s.group(true, "t1", "t2"))
	s.step(&Launched{Container: s.box(), PID: 7})
	s.expect(t, &Launched{Container: s.container("t1"), Failure: LaunchRefused, Words: "no"},
		"update t1 FAILED CONTAINER_LAUNCH_FAILED", "forget", "cancel t2", "resize to 2")
	s.expect(t, &Launched{Container: s.container("t2"), Failure: LaunchCanceled},
		"update t2 KILLED TASK_KILLED_DURING_LAUNCH", "forget", "kill ex 0s")
}

func TestAKillBeforeTheExecutorIsThereEndsTheGroup(t *testing.T) {
	s := newBench(t)
	s.join()
	s.step(s.group(true, "t1", "t2"))
	s.expect(t, kill("t2", -1), "update t2 KILLED TASK_KILLED_DURING_LAUNCH", "update t1 KILLED TASK_KILLED_DURING_LAUNCH",
		"forget", "forget", "cancel ex")
	s.expect(t, s.group(true, "u1"), "update u1 LOST EXECUTOR_TERMINATED")
	s.expect(t, &Launched{Container: s.box(), PID: 7}, "kill ex 0s") // the cancel came too late
	s.expect(t, &Exited{s.box(), Exit{Known: true}}, "executor ex ended 0", "forget")
}

func TestAGroupIsTakenOnWholeOrNotAtAll(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*bench, *RunGroup)
		want []string
	}{
		"one cannot run here": {
			func(_ *bench, g *RunGroup) { g.Tasks[1].Refused = "no" },
			[]string{"update t1 FAILED CONTAINER_LAUNCH_FAILED", "update t2 FAILED CONTAINER_LAUNCH_FAILED", "executor ex ended -1"},
		},
		"the executor is not there": {
			func(_ *bench, g *RunGroup) { g.StartsExecutor = false },
			[]string{"update t1 LOST EXECUTOR_TERMINATED", "update t2 LOST EXECUTOR_TERMINATED"},
		},
		"one is here already": {
			func(s *bench, _ *RunGroup) { s.step(run("t2")) },
			[]string{"update t1 FAILED CONTAINER_LAUNCH_FAILED", "executor ex ended -1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBench(t)
			s.join()
			g := s.group(true, "t1", "t2")
			c.edit(s, g)
			s.expect(t, g, c.want...)
		})
	}
	t.Run("it is here already", func(t *testing.T) {
		s := newBench(t)
		s.join()
		g := s.group(true, "t1", "t2")
		s.step(g)
		s.expect(t, g)
	})
}

func TestAPoolWhoseSupervisorDiesFailsItsTasks(t *testing.T) {
	s := withPool(t)
	s.expect(t, orphaned(s, "t1"), "update t1 FAILED EXECUTOR_TERMINATED", "update t2 KILLING", "forget", "kill t2 3s", "resize to 2")
	s.expect(t, s.ack("t2"))
	s.expect(t, orphaned(s, "t2"), "update t2 FAILED EXECUTOR_TERMINATED", "forget", "kill ex 0s")
	s.expect(t, &Exited{s.box(), Exit{Status: 9, Known: true, Orphaned: true}}, "executor ex ended 9", "forget")
}

func TestMemoryThatAGroupSharesIsEverybodysLimit(t *testing.T) {
	s := withPool(t)
	oom := func(task string) *Exited {
		return &Exited{s.container(task), Exit{Status: 9, Known: true, OOM: true, Limit: 64 << 20}}
	}
	s.expect(t, oom("t2"), "update t2 FAILED CONTAINER_LIMITATION_MEMORY", "update t1 KILLING", "forget", "kill t1 3s", "resize to 2")
	s.expect(t, s.ack("t1"))
	s.expect(t, oom("t1"), "update t1 FAILED CONTAINER_LIMITATION_MEMORY", "forget", "kill ex 0s")
}

func TestHowADefaultExecutorIsEnded(t *testing.T) {
	t.Run("by its scheduler", func(t *testing.T) {
		s := withPool(t)
		s.expect(t, &ShutdownExecutor{ex}, "update t1 KILLING", "update t2 KILLING", "kill t1 3s", "kill t2 3s")
		s.quietly(nil)
		s.expect(t, exited(s, "t1", 15), "update t1 KILLED", "forget")
		s.now = s.book.Deadline()
		s.expect(t, nil, "kill ex 0s") // its grace is over
		s.quietly(nil)
		s.expect(t, exited(s, "t2", 9), "update t2 KILLED", "forget", "kill ex 0s")
		s.expect(t, &Exited{s.box(), Exit{Known: true}}, "executor ex ended 0", "forget")
	})
	t.Run("with its framework", func(t *testing.T) {
		s := withPool(t)
		s.expect(t, &ShutdownFramework{"F"}, "kill t1 3s", "kill t2 3s")
		s.expect(t, exited(s, "t1", 15), "forget")
		s.expect(t, exited(s, "t2", 15), "forget", "kill ex 0s")
		s.expect(t, &Exited{s.box(), Exit{Known: true}}, "executor ex ended 0", "forget")
		if v := s.book.View(); len(v.Frameworks)+len(v.Tasks)+len(v.Executors) != 0 {
			t.Errorf("%+v is left", v)
		}
	})
	t.Run("with its framework, before it is there", func(t *testing.T) {
		s := newBench(t)
		s.join()
		s.step(s.group(true, "t1", "t2", "t3"))
		s.expect(t, &ShutdownFramework{"F"}, "forget", "forget", "forget", "cancel ex")
		s.expect(t, &Launched{Container: s.box(), Failure: LaunchCanceled}, "executor ex ended -1", "forget")
		if v := s.book.View(); len(v.Frameworks)+len(v.Tasks)+len(v.Executors) != 0 {
			t.Errorf("%+v is left", v)
		}
	})
	t.Run("with its agent", func(t *testing.T) {
		s := withPool(t)
		s.expect(t, &Leave{}, "kill t1 3s", "kill t2 3s")
		s.step(exited(s, "t1", 15))
		s.step(exited(s, "t2", 15))
		s.expect(t, &Exited{s.box(), Exit{Known: true}}, "executor ex ended 0", "unregister", "forget", "left")
	})
}

// found is what a restarted agent finds.
func (s *bench) found(task string, pid uint32, e *Exit) Found {
	if task == "ex" {
		return Found{Container: s.box(), PID: pid, Exit: e}
	}
	return Found{Container: s.container(task), PID: pid, Exit: e}
}

func TestWhatARestartedAgentMakesOfAPool(t *testing.T) {
	orphan := &Exit{Status: 9, Known: true, Orphaned: true}
	for name, c := range map[string]struct {
		before func(*bench)
		found  func(*bench) []Found
		boot   string
		want   []string
		left   string
	}{
		"all of it runs": {
			nil, func(s *bench) []Found {
				return []Found{s.found("ex", 7, nil), s.found("t1", 11, nil), s.found("t2", 12, nil)}
			}, "",
			[]string{"watch t1", "watch t2", "resize to 3"},
			"ex",
		},
		"one ended well": {nil, func(s *bench) []Found {
			return []Found{s.found("ex", 7, nil), s.found("t1", 11, &Exit{Known: true}), s.found("t2", 12, nil)}
		}, "", []string{"update t1 FINISHED", "forget", "watch t2", "resize to 2"}, "ex"},
		"one failed": {nil, func(s *bench) []Found {
			return []Found{s.found("ex", 7, nil), s.found("t1", 11, nil), s.found("t2", 12, &Exit{Status: 0x100, Known: true})}
		}, "", []string{"update t2 FAILED", "update t1 KILLING", "watch t1", "forget", "kill t1 3s", "resize to 2"}, "ex"},
		"one was being killed": {func(s *bench) { s.step(kill("t1", 0)) }, func(s *bench) []Found {
			return []Found{s.found("ex", 7, nil), s.found("t1", 11, nil), s.found("t2", 12, nil)}
		}, "", []string{"kill t1 0s", "watch t2", "resize to 3"}, "ex"},
		"both ended well": {nil, func(s *bench) []Found {
			return []Found{s.found("ex", 7, nil), s.found("t1", 11, &Exit{Known: true}), s.found("t2", 12, &Exit{Known: true})}
		}, "", []string{"update t1 FINISHED", "update t2 FINISHED", "forget", "forget", "kill ex 0s"}, "ex"},
		"its supervisor died": {nil, func(s *bench) []Found {
			return []Found{s.found("ex", 7, orphan), s.found("t1", 11, orphan), s.found("t2", 12, orphan)}
		}, "", []string{"update t1 FAILED EXECUTOR_TERMINATED", "update t2 FAILED EXECUTOR_TERMINATED", "executor ex ended 9", "forget", "forget", "forget"}, ""},
		"the machine was rebooted": {
			nil, func(*bench) []Found { return nil }, "boot-2",
			[]string{"update t1 FAILED EXECUTOR_TERMINATED", "update t2 FAILED EXECUTOR_TERMINATED", "executor ex ended -1", "forget", "forget", "forget"},
			"",
		},
		"a group had not begun": {func(s *bench) { s.step(s.group(true, "u1", "u2")) }, func(s *bench) []Found {
			return []Found{s.found("ex", 7, nil), s.found("t1", 11, nil), s.found("t2", 12, nil)}
		}, "", []string{"update u1 LOST AGENT_RESTARTED", "update u2 LOST AGENT_RESTARTED", "watch t1", "watch t2", "forget", "forget", "resize to 3"}, "ex"},
		"a group had begun in part": {func(s *bench) {
			s.step(s.group(true, "u1", "u2"))
			s.quietly(s.launched("u1", 13))
		}, func(s *bench) []Found {
			return []Found{s.found("ex", 7, nil), s.found("t1", 11, nil), s.found("t2", 12, nil), s.found("u1", 13, nil)}
		}, "", []string{"update u2 LOST AGENT_RESTARTED", "update u1 KILLING", "watch t1", "watch t2", "watch u1", "forget", "kill u1 3s", "resize to 4"}, "ex"},
	} {
		t.Run(name, func(t *testing.T) {
			s := withPool(t)
			if c.before != nil {
				c.before(s)
			}
			if c.boot != "" {
				s.cfg.Boot = c.boot
			}
			list := c.found(s)
			for range 2 { // from the journal as it was written, and as it is compacted
				s.restart()
				s.journal = s.book.Journal()
			}
			s.restart()
			s.join()
			s.expect(t, &Recovered{list}, c.want...)
			left := ""
			for _, x := range s.book.View().Executors {
				left += x.Spec.ID
				if x.State == ExecutorRegistering {
					t.Error("it waits for an executor that does not subscribe")
				}
			}
			if left != c.left {
				t.Errorf("executors %q are left", left)
			}
		})
	}
}

func TestAGroupForAnExecutorOfTheFrameworksOwnComesToItAsOne(t *testing.T) {
	s := newBench(t)
	s.join()
	s.expect(t, s.group(false, "t1", "t2"), "launch executor ex")
	s.step(&Launched{Container: s.box(), PID: 7})
	s.expect(t, &ExecutorSubscribe{Stream: 1, ExecutorRef: ex}, "to 1: SUBSCRIBED ex of F", "to 1: LAUNCH_GROUP t1 t2")
	s.expect(t, s.runOn("t3"), "to 1: LAUNCH t3", "resize to 4")
	s.expect(t, s.group(false, "t4", "t5"), "to 1: LAUNCH_GROUP t4 t5", "resize to 6")
	s.expect(t, update("t4", "FAILED", "u1"), "update t4 FAILED", "to 1: ACKNOWLEDGED t4 u1", "resize to 5") // the others are its affair
}

func TestAKilledTaskThatWaitsForItsExecutorTakesItsGroupAlong(t *testing.T) {
	s := newBench(t)
	s.join()
	s.step(s.group(false, "t1", "t2"))
	s.step(&Launched{Container: s.box(), PID: 7})
	s.step(s.group(false, "u1"))
	s.expect(t, kill("t2", -1), "update t1 KILLED TASK_KILLED_DURING_LAUNCH", "update t2 KILLED TASK_KILLED_DURING_LAUNCH", "resize to 2")
	s.expect(t, &ExecutorSubscribe{Stream: 1, ExecutorRef: ex}, "to 1: SUBSCRIBED ex of F", "to 1: LAUNCH_GROUP u1")
}

func TestAGroupWhoseAcceptanceWasCutShortIsNotGivenToItsExecutor(t *testing.T) {
	s := newBench(t)
	s.join()
	s.step(s.group(false, "t1"))
	s.step(&Launched{Container: s.box(), PID: 7})
	s.step(s.group(false, "u1", "u2", "u3"))
	cut := 0
	for i, r := range s.journal {
		if r.Accepted != nil && r.Accepted.Task.ID == "u2" {
			cut = i + 1
		}
	}
	s.journal = s.journal[:cut]
	s.restart()
	s.join()
	s.expect(t, &Recovered{[]Found{s.found("ex", 7, nil)}}, "update u1 LOST AGENT_RESTARTED", "update u2 LOST AGENT_RESTARTED", "resize to 2")
	s.expect(t, &ExecutorSubscribe{Stream: 1, ExecutorRef: ex, Tasks: []string{}}, "to 1: SUBSCRIBED ex of F", "to 1: LAUNCH_GROUP t1")
}

func TestARefusalThatWasCutShortIsTold(t *testing.T) {
	s := newBench(t)
	s.join()
	s.step(s.group(false, "t1"))
	s.step(&Launched{Container: s.box(), PID: 7})
	in := s.group(false, "u1", "u2")
	in.Tasks[1].Refused = "no such thing"
	s.step(in)
	for i, r := range s.journal { // a crash leaves the first record of the refusal, and nothing of the end
		if r.Accepted != nil && r.Accepted.Task.ID == "u1" {
			s.journal = s.journal[:i+1]
			break
		}
	}
	s.restart()
	s.join()
	s.expect(t, &Recovered{[]Found{s.found("ex", 7, nil)}}, "update u1 LOST AGENT_RESTARTED", "resize to 2")
}

func TestNobodySubscribesAsTheDefaultExecutor(t *testing.T) {
	s := withPool(t)
	s.expect(t, &ExecutorSubscribe{Stream: 1, ExecutorRef: ex}, "to 1: SHUTDOWN", "to 1: closes")
	s.expect(t, update("t1", "FINISHED", "u1"))
	if v, _ := s.book.find(Ref{"F", "t1"}); v.Ended {
		t.Error("a task was ended by who is not its executor")
	}
}

func TestALateLaunchOfATaskWhosePoolHasEndedIsDestroyed(t *testing.T) {
	s := withPool(t)
	s.step(s.group(true, "u1"))
	late := s.launched("u1", 13)
	box := s.box()
	for _, id := range []string{"t1", "t2"} {
		s.step(orphaned(s, id))
	}
	got := s.step(&Exited{box, Exit{Status: 9, Known: true, Orphaned: true}})
	if d := cmp.Diff([]string{"update u1 FAILED EXECUTOR_TERMINATED", "executor ex ended 9", "cancel u1", "forget", "forget"}, got); d != "" {
		t.Error(d)
	}
	s.expect(t, late, "destroy "+late.Container)
}

func TestAnUnhealthyTaskOfAGroupIsKilledWithTheOthers(t *testing.T) {
	s := withPool(t)
	s.quietly(&Health{Container: s.container("t1"), Healthy: 0, Kill: true, Failures: 3})
	s.expect(t, exited(s, "t1", 15), "update t1 KILLED", "update t2 KILLING", "forget", "kill t2 3s", "resize to 2")
	if v, _ := s.book.find(Ref{"F", "t1"}); v.Statuses[len(v.Statuses)-1].Healthy != 0 {
		t.Error("its last status does not say that it was unhealthy")
	}
}

func TestABigGroupThatIsKilledBeforeItStartsEnds(t *testing.T) {
	s := newBench(t)
	s.join()
	var ids []string
	for i := range 500 {
		ids = append(ids, fmt.Sprintf("t%03d", i))
	}
	s.step(s.group(true, ids...))
	s.quietly(kill("t250", time.Second))
	if n := len(s.book.View().Tasks); n != 0 {
		t.Errorf("%d tasks are left", n)
	}
}
