package workload

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/machine"
)

// bench is a book with its journal.
type bench struct {
	tb      interface{ Fatalf(string, ...any) }
	cfg     Config
	book    *Book
	now     time.Duration
	runs    uint64
	journal []Record
	link    uint64
}

func newBench(tb interface{ Fatalf(string, ...any) }) *bench {
	s := &bench{tb: tb, cfg: Defaults(), now: time.Second}
	s.cfg.Boot = "boot-1"
	s.restart()
	return s
}

func (s *bench) clock() machine.Now { return machine.Now{Mono: s.now, Wall: 1e18 + int64(s.now)} }

// restart makes the book anew from its journal, as a new process does.
func (s *bench) restart() {
	s.runs++
	s.book = New(s.cfg, slices.Clone(s.journal), s.clock(), rand.New(rand.NewPCG(s.runs, 3)))
}

// step gives what a step asks for, in words. Saves go to the journal and are not told.
func (s *bench) step(in In) []string {
	var out Out
	s.book.Step(s.clock(), in, &out)
	for _, r := range out.Save {
		if r.Compact != nil {
			s.journal = slices.Clone(r.Compact)
			continue
		}
		s.journal = append(s.journal, r)
	}
	var words []string
	for _, m := range out.Send {
		switch {
		case m.Register != nil:
			w := "register " + m.Register.Agent
			for _, t := range m.Register.Tasks {
				w += fmt.Sprintf(" %s:%s", t.Task.ID, strings.TrimPrefix(t.State.String(), "TASK_"))
			}
			for _, x := range m.Register.Executors {
				w += " " + x.Spec.ID
			}
			words = append(words, w)
		case m.Update != nil:
			w := fmt.Sprintf("update %s %s", m.Update.Status.TaskID, strings.TrimPrefix(m.Update.Status.State.String(), "TASK_"))
			if m.Update.Status.HasReason {
				w += " " + strings.TrimPrefix(m.Update.Status.Reason.String(), "REASON_")
			}
			words = append(words, w)
		case m.Executor != nil:
			words = append(words, event(m.Executor))
		case m.ExecutorEnd != nil:
			words = append(words, fmt.Sprintf("executor %s ended %d", m.ExecutorEnd.Executor, m.ExecutorEnd.Status))
		case m.Operation != nil:
			words = append(words, fmt.Sprintf("operation %s %s", m.Operation.Operation.UUID, strings.TrimPrefix(m.Operation.State.String(), "OPERATION_")))
		case m.Message != nil:
			words = append(words, fmt.Sprintf("message of %s: %s", m.Message.Executor, m.Message.Data))
		case m.Nested != nil:
			words = append(words, fmt.Sprintf("answer %d: %s", m.Nested.Call, outcomes[m.Nested.Outcome]))
		case m.Unregister:
			words = append(words, "unregister")
		case m.Refuse != "":
			words = append(words, "refuse")
		}
	}
	for _, w := range out.Do {
		switch {
		case w.Launch != nil && w.Launch.Parent != "":
			words = append(words, "launch "+w.Launch.Task.ID+" in "+s.task(w.Launch.Parent))
		case w.Launch != nil && w.Launch.Executor != nil:
			words = append(words, "launch executor "+w.Launch.Executor.ID)
		case w.Resize != nil:
			words = append(words, fmt.Sprintf("resize to %d", len(w.Resize.Needs)))
		case w.Launch != nil:
			words = append(words, "launch "+w.Launch.Task.ID)
		case w.LaunchNested != nil:
			words = append(words, "start "+s.named(w.LaunchNested.Path))
		case w.NestedEnded != nil:
			words = append(words, fmt.Sprintf("%s ended %#x %v", s.named(w.NestedEnded.Spec.Path), w.NestedEnded.Exit.Status, w.NestedEnded.Exit.Known))
		case w.RemoveNested != nil:
			words = append(words, "remove "+s.named(w.RemoveNested.Spec.Path))
		case w.Cancel != "":
			words = append(words, "cancel "+s.task(w.Cancel))
		case w.Kill != nil:
			words = append(words, fmt.Sprintf("kill %s %s", s.task(w.Kill.Container), w.Kill.Grace))
		case w.Watch != nil:
			words = append(words, "watch "+w.Watch.Task.ID)
		case w.RemoveVolume != nil:
			words = append(words, "remove "+w.RemoveVolume.Volume.PersistenceID())
		case w.ClearVolume != nil:
			words = append(words, "clear")
		case w.PlaceVolumes != nil:
			words = append(words, "place "+w.PlaceVolumes.Task.ID)
		case w.Forget != "":
			words = append(words, "forget")
		case w.Left:
			words = append(words, "left")
		case w.Destroy != "":
			words = append(words, "destroy "+w.Destroy)
		}
	}
	return words
}

func (s *bench) task(container string) string {
	if x, ok := s.book.boxes[container]; ok {
		return x.Executor
	}
	if n := s.book.nested.byName[container]; n != nil {
		return s.named(n.view.Spec.Path)
	}
	return s.book.containers[container].Task
}

// expect compares what a step asks for.
func (s *bench) expect(t *testing.T, in In, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, s.step(in)); d != "" {
		t.Errorf("%T (-want +got):\n%s", in, d)
	}
}

func (s *bench) join() {
	s.link++
	s.step(&Linked{Link: s.link, Epoch: 5})
	s.step(&Registered{Agent: "S1", Info: []byte("S1")})
}

func (s *bench) container(task string) string {
	v, _ := s.book.find(Ref{"F", task})
	if v == nil {
		s.tb.Fatalf("task %s is not there", task)
	}
	return v.Container
}

// ack acknowledges the outstanding update of a task.
func (s *bench) ack(task string) *Ack {
	ref := Ref{"F", task}
	_, state := s.book.find(ref)
	if state == nil || len(state.owed) == 0 {
		return &Ack{ref, "nothing is owed"}
	}
	return &Ack{ref, state.owed[0].UUID}
}

func run(task string) *Run {
	return &Run{Framework: &Framework{ID: "F", Name: "f", TaskKilling: true}, Task: &Task{Framework: "F", ID: task, Name: task, Grace: 3 * time.Second, Launch: 9}}
}

func kill(task string, grace time.Duration) *Kill { return &Kill{Ref{"F", task}, grace} }

// running is a task whose STARTING and RUNNING are acknowledged.
func running(t *testing.T) *bench {
	t.Helper()
	s := newBench(t)
	s.join()
	s.expect(t, run("t1"), "launch t1")
	s.expect(t, &Launched{Container: s.container("t1"), PID: 7}, "update t1 STARTING", "watch t1")
	s.expect(t, s.ack("t1"), "update t1 RUNNING")
	s.expect(t, s.ack("t1"))
	return s
}

func exited(s *bench, task string, status uint32) *Exited {
	return &Exited{s.container(task), Exit{Status: status, Known: true}}
}

func TestATasksLifeFromRunToTheLastAcknowledgement(t *testing.T) {
	s := running(t)
	s.expect(t, exited(s, "t1", 0), "update t1 FINISHED", "forget")
	s.expect(t, exited(s, "t1", 0), "forget") // told twice
	s.expect(t, s.ack("t1"))
	if n := len(s.book.View().Tasks); n != 0 {
		t.Errorf("%d tasks are left", n)
	}
	if j := s.book.Journal(); len(j) != 1 || j[0].Identity == nil {
		t.Errorf("the compacted journal of an agent without tasks has %d records", len(j))
	}
}

func TestAnExitThatIsToldBeforeItsLaunchWaitsForIt(t *testing.T) {
	s := newBench(t)
	s.join()
	s.step(run("t1"))
	c := s.container("t1")
	s.expect(t, &Exited{c, Exit{Status: 0x100, Known: true}})
	s.expect(t, &Launched{Container: c, PID: 7}, "update t1 STARTING", "watch t1", "forget")
	s.expect(t, s.ack("t1"), "update t1 RUNNING")
	s.expect(t, s.ack("t1"), "update t1 FAILED")
}

func TestAKillWhileTheLaunchIsUnderWay(t *testing.T) {
	s := newBench(t)
	s.join()
	s.step(run("t1"))
	s.expect(t, kill("t1", -1), "cancel t1")
	s.expect(t, &Launched{Container: s.container("t1"), Failure: LaunchCanceled}, "update t1 KILLED TASK_KILLED_DURING_LAUNCH", "forget")

	s.step(run("t2"))
	s.expect(t, kill("t2", 9*time.Second), "cancel t2")
	s.expect(t, &Launched{Container: s.container("t2"), PID: 8}, "update t2 STARTING", "kill t2 9s") // the process came first
	s.expect(t, s.ack("t2"), "update t2 RUNNING")
	s.expect(t, s.ack("t2"), "update t2 KILLING")
	s.expect(t, exited(s, "t2", 15), "forget")
	s.expect(t, s.ack("t2"), "update t2 KILLED")
}

func TestALaterKillMayOnlyShortenTheGrace(t *testing.T) {
	s := running(t)
	s.expect(t, kill("t1", 10*time.Second), "update t1 KILLING", "kill t1 10s")
	s.expect(t, kill("t1", time.Minute), "kill t1 10s")
	s.expect(t, kill("t1", time.Second), "kill t1 1s")
	s.expect(t, exited(s, "t1", 9), "forget")
	s.expect(t, s.ack("t1"), "update t1 KILLED")
	s.expect(t, kill("t1", 0))
}

func TestHowATaskEndedIsTold(t *testing.T) {
	for _, c := range []struct {
		name   string
		launch *Launched
		exit   *Exit
		want   string
	}{
		{"it ends well", nil, &Exit{Known: true}, "FINISHED"},
		{"it ends with a code", nil, &Exit{Status: 0x300, Known: true}, "FAILED"},
		{"it runs out of memory", nil, &Exit{Status: 9, Known: true, OOM: true}, "FAILED CONTAINER_LIMITATION_MEMORY"},
		{"it runs too long", nil, &Exit{Status: 15, Known: true, TimedOut: true}, "FAILED MAX_COMPLETION_TIME_REACHED"},
		{"its shim dies", nil, &Exit{}, "FAILED EXECUTOR_TERMINATED"},
		{"its files cannot be fetched", &Launched{Failure: LaunchRefused}, nil, "FAILED CONTAINER_LAUNCH_FAILED"},
		{"its user is unknown", &Launched{Failure: UserUnknown}, nil, "LOST EXECUTOR_TERMINATED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := running(t)
			if c.launch != nil {
				s.step(run("t2"))
				c.launch.Container = s.container("t2")
				s.expect(t, c.launch, "update t2 "+c.want, "forget")
				return
			}
			s.expect(t, &Exited{s.container("t1"), *c.exit}, "update t1 "+c.want, "forget")
		})
	}
}

func TestATaskThatThisAgentCannotRunFailsAtOnce(t *testing.T) {
	s := newBench(t)
	s.join()
	r := run("t1")
	r.Task.Refused = "no"
	s.expect(t, r, "update t1 FAILED CONTAINER_LAUNCH_FAILED", "forget")
}

func TestAnUpdateIsSentAgainAfterTenSecondsAndThenHalfAsOften(t *testing.T) {
	s := running(t)
	s.step(exited(s, "t1", 0))
	var waits []time.Duration
	last := s.now
	for range 9 {
		s.now = s.book.Deadline()
		s.expect(t, nil, "update t1 FINISHED")
		waits = append(waits, s.now-last)
		last = s.now
	}
	sec := time.Second
	if want := []time.Duration{10 * sec, 20 * sec, 40 * sec, 80 * sec, 160 * sec, 320 * sec, 600 * sec, 600 * sec, 600 * sec}; !slices.Equal(waits, want) {
		t.Errorf("the waits are %v, want %v", waits, want)
	}
	s.step(&Unlinked{})
	if s.book.Deadline() != machine.Never {
		t.Error("without a master nothing is due")
	}
	s.expect(t, &Linked{2, 5}, "register S1 t1:FINISHED")
	s.expect(t, &Registered{Agent: "S1", Info: []byte("S1")}, "update t1 FINISHED")
	s.expect(t, &Resend{"F"}, "update t1 FINISHED")
	s.expect(t, s.ack("t1"))
	if s.book.Deadline() != machine.Never {
		t.Error("everything is acknowledged and something is due")
	}
}

func TestAnAcknowledgementOfAnotherUpdateIsStale(t *testing.T) {
	s := running(t)
	s.step(exited(s, "t1", 0))
	s.expect(t, &Ack{Ref{"F", "t1"}, "other"})
	if len(s.book.View().Tasks) != 1 {
		t.Error("the task is gone")
	}
}

func TestAnOlderLeaderIsRefused(t *testing.T) {
	s := running(t)
	s.step(&Unlinked{})
	s.expect(t, &Linked{2, 4}, "refuse")
	s.expect(t, &Registered{Agent: "S2", Info: []byte("S2")})
	if s.book.Identity().Agent != "S1" || s.book.View().Registered {
		t.Error("a leader that was refused gave the agent an id")
	}
	s.restart()
	s.step(&Recovered{Containers: []Found{{Container: s.container("t1"), PID: 7}}})
	s.expect(t, &Linked{3, 4}, "refuse") // also after a restart
}

func TestWhatARestartFinds(t *testing.T) {
	found := func(s *bench, exit *Exit) *Recovered {
		return &Recovered{Containers: []Found{{Container: s.container("t1"), PID: 7, Exit: exit}}}
	}
	register := func(t *testing.T, s *bench, want ...string) {
		t.Helper()
		s.step(&Linked{9, 5})
		s.expect(t, &Registered{Agent: "S1", Info: []byte("S1")}, want...)
	}
	t.Run("a container that runs", func(t *testing.T) {
		s := running(t)
		s.restart()
		s.expect(t, found(s, nil), "watch t1")
		register(t, s)
	})
	t.Run("a container that ended meanwhile", func(t *testing.T) {
		s := running(t)
		s.restart()
		s.expect(t, found(s, &Exit{Known: true}), "forget")
		register(t, s, "update t1 FINISHED")
	})
	t.Run("no container: it ended and nothing says how", func(t *testing.T) {
		s := running(t)
		s.restart()
		s.expect(t, &Recovered{}, "forget")
		register(t, s, "update t1 FAILED EXECUTOR_TERMINATED")
	})
	t.Run("no container after a reboot", func(t *testing.T) {
		s := running(t)
		s.cfg.Boot = "boot-2"
		s.restart()
		s.step(&Recovered{})
		if v := s.book.View().Tasks[0]; !strings.Contains(s.book.states[v.ref()].owed[0].Message, "rebooted") {
			t.Errorf("the words are %q", s.book.states[v.ref()].owed[0].Message)
		}
	})
	t.Run("a launch that came to nothing", func(t *testing.T) {
		s := newBench(t)
		s.join()
		s.step(run("t1"))
		s.restart()
		s.expect(t, &Recovered{}, "forget")
		register(t, s, "update t1 LOST AGENT_RESTARTED")
	})
	t.Run("a launch whose process nobody was told of", func(t *testing.T) {
		s := newBench(t)
		s.join()
		s.step(run("t1"))
		s.restart()
		s.expect(t, found(s, nil), "watch t1")
		register(t, s, "update t1 STARTING")
	})
	t.Run("a kill that was under way", func(t *testing.T) {
		s := running(t)
		s.step(kill("t1", 5*time.Second))
		s.restart()
		s.expect(t, found(s, nil), "kill t1 5s")
		register(t, s, "update t1 KILLING")
	})
	t.Run("a container that nobody knows", func(t *testing.T) {
		s := running(t)
		s.restart()
		in := found(s, nil)
		in.Containers = append(in.Containers, Found{Container: "stranger", PID: 9})
		s.expect(t, in, "destroy stranger", "watch t1")
	})
	t.Run("an end that was told and not acknowledged", func(t *testing.T) {
		s := running(t)
		s.step(exited(s, "t1", 0))
		s.restart()
		s.expect(t, found(s, &Exit{Known: true}), "forget")
		register(t, s, "update t1 FINISHED")
	})
}

func TestAFrameworksShutdownEndsItsTasksWithoutAWord(t *testing.T) {
	s := running(t)
	s.step(&Health{Container: s.container("t1"), Healthy: 1}) // it is never acknowledged
	s.step(run("t2"))
	s.step(run("t3"))
	s.step(&Launched{Container: s.container("t3"), Failure: LaunchRefused})
	s.expect(t, &ShutdownFramework{"F"}, "kill t1 3s", "cancel t2")
	s.step(&Unlinked{})
	s.expect(t, &Linked{2, 5}, "register S1 t1:RUNNING t2:STAGING") // what they hold is not free yet
	s.restart()
	s.step(&Recovered{Containers: []Found{{Container: s.container("t1"), PID: 7}}})
	s.expect(t, &Linked{3, 5}, "register S1 t1:RUNNING")
	s.expect(t, &Registered{Agent: "S1", Info: []byte("S1")})
	s.expect(t, &ShutdownFramework{"F"}, "kill t1 3s") // as the master says whenever the agent comes back
	s.expect(t, exited(s, "t1", 15), "forget")
	if len(s.book.View().Tasks)+len(s.book.View().Frameworks) != 0 {
		t.Errorf("left: %v", s.book.View())
	}
}

func TestATaskThatEndsInSilenceWhileItsAgentRegistersIsTold(t *testing.T) {
	s := running(t)
	s.step(&Leave{})
	s.restart() // before its goodbye: it stays
	s.step(&Recovered{Containers: []Found{{Container: s.container("t1"), PID: 7}}})
	s.expect(t, &Linked{2, 5}, "register S1 t1:RUNNING")
	s.expect(t, exited(s, "t1", 15), "forget")
	s.expect(t, &Registered{Agent: "S1", Info: []byte("S1")}, "update t1 KILLED")
}

func TestATaskThatNeverArrivedIsAnsweredFor(t *testing.T) {
	s := newBench(t)
	s.step(&Linked{1, 5})
	unknown := []UnknownTask{{Ref{"F", "t1"}, true, 4}, {Ref{"G", "t2"}, false, 5}}
	s.expect(t, &Registered{Agent: "S1", Info: []byte("S1"), Unknown: unknown}, "update t1 DROPPED RECONCILIATION", "update t2 LOST RECONCILIATION")
	s.expect(t, s.ack("t1"))
	s.expect(t, run("t1"), "launch t1") // its name is free
}

// essence is what must be the same in a book and in one that is made of its journal.
func essence(b *Book) []string {
	out := []string{fmt.Sprintf("%+v", b.identity)}
	for _, f := range b.sortedFrameworks() {
		out = append(out, "framework "+f.ID)
	}
	b.shown.Scan(func(v *ExecutorView) bool {
		x := b.executors[v.ref()]
		out = append(out, fmt.Sprintf("executor %s %s pid %d ending %d tasks %v", v.Spec.ID, v.Container, v.PID, x.cause, slices.Sorted(maps.Keys(x.tasks))))
		return true
	})
	b.tasks.Scan(func(v *TaskView) bool {
		s := b.states[v.ref()]
		pid := v.PID
		if v.Task.Executor != nil {
			pid = 0 // its executor's, as long as that is there
		}
		line := fmt.Sprintf("%s/%s %s queued %t pid %d ended %t cause %d grace %s silent %t check %+v", v.Task.Framework, v.Task.ID, v.Container, v.Queued && !v.Ended, pid, v.Ended, s.cause, s.grace, s.silent, s.check)
		if !s.silent {
			line += fmt.Sprintf(" %s told %s %x", v.State, v.UpdateState, v.UpdateUUID)
			for _, o := range v.Statuses {
				line += fmt.Sprintf(" was %s", o.State)
			}
		}
		for _, o := range s.owed {
			line += fmt.Sprintf(" owes %s %x", o.State, o.UUID)
		}
		out = append(out, line)
		return true
	})
	return out
}

func TestTheJournalWholeOrCompactedMakesTheSameBook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newBench(t)
		s.step(&Recovered{})
		s.join()
		name := rapid.SampledFrom([]string{"t1", "t2", "t3"})
		inside := rapid.SampledFrom([]string{"e1", "e2", "t1"})
		uuids := rapid.SampledFrom([]string{"u1", "u2", "u3", "u4"})
		box := func() string {
			if x := s.book.executors[ex]; x != nil {
				return x.view.Container
			}
			return "stranger"
		}
		launched := func(t *rapid.T) string {
			if rapid.IntRange(0, 3).Draw(t, "executor") == 0 {
				return box()
			}
			v, _ := s.book.find(Ref{"F", name.Draw(t, "task")})
			if v == nil {
				return "stranger"
			}
			return v.Container
		}
		t.Repeat(map[string]func(*rapid.T){
			"run": func(t *rapid.T) { s.step(run(name.Draw(t, "task"))) },
			"kill": func(t *rapid.T) {
				s.step(kill(name.Draw(t, "task"), time.Duration(rapid.IntRange(-1, 9).Draw(t, "grace"))))
			},
			"ack":    func(t *rapid.T) { s.step(s.ack(name.Draw(t, "task"))) },
			"resend": func(*rapid.T) { s.step(&Resend{"F"}) },
			"launched": func(t *rapid.T) {
				s.step(&Launched{Container: launched(t), PID: 5, Failure: LaunchFailure(rapid.SampledFrom([]int{0, 0, 0, 1, 2, 4}).Draw(t, "failure"))})
			},
			"exited": func(t *rapid.T) { s.step(&Exited{launched(t), Exit{Known: true}}) },
			"health": func(t *rapid.T) {
				s.step(&Health{Container: launched(t), Healthy: int8(rapid.IntRange(-1, 1).Draw(t, "healthy")), Failures: 2, Kill: rapid.Bool().Draw(t, "kill")})
			},
			"shutdown": func(*rapid.T) { s.step(&ShutdownFramework{"F"}) },
			"run in an executor": func(t *rapid.T) {
				in := s.runOn(inside.Draw(t, "task"))
				in.StartsExecutor = in.StartsExecutor && rapid.IntRange(0, 5).Draw(t, "starts") > 0
				s.step(in)
			},
			"subscribe": func(t *rapid.T) {
				s.step(&ExecutorSubscribe{Stream: uint64(rapid.IntRange(1, 3).Draw(t, "stream")), ExecutorRef: ex, Tasks: []string{inside.Draw(t, "task")}})
			},
			"closed": func(t *rapid.T) { s.step(&ExecutorClosed{uint64(rapid.IntRange(1, 3).Draw(t, "stream"))}) },
			"update": func(t *rapid.T) {
				s.step(update(inside.Draw(t, "task"), rapid.SampledFrom([]string{"RUNNING", "FINISHED"}).Draw(t, "state"), uuids.Draw(t, "uuid")))
			},
			"kill inside": func(t *rapid.T) {
				s.step(kill(inside.Draw(t, "task"), time.Duration(rapid.IntRange(-1, 9).Draw(t, "grace"))))
			},
			"ack inside":        func(t *rapid.T) { s.step(s.ack(inside.Draw(t, "task"))) },
			"end the executor":  func(*rapid.T) { s.step(&ShutdownExecutor{ex}) },
			"the executor ends": func(*rapid.T) { s.step(&Exited{box(), Exit{Known: true}}) },
			"unknown": func(t *rapid.T) {
				s.step(&Registered{Agent: "S1", Info: []byte("S1"), Unknown: []UnknownTask{{Ref{"F", name.Draw(t, "task")}, true, 1}}})
			},
			"relink":  func(*rapid.T) { s.step(&Unlinked{}); s.join() },
			"time":    func(*rapid.T) { s.now += 15 * time.Second; s.step(nil) },
			"compact": func(*rapid.T) { s.step(&Compact{}) },
			"": func(t *rapid.T) {
				want := essence(s.book)
				for kind, journal := range map[string][]Record{"whole": s.journal, "compacted": s.book.Journal()} {
					again := New(s.cfg, journal, s.clock(), rand.New(rand.NewPCG(1, 1)))
					if d := cmp.Diff(want, essence(again)); d != "" {
						t.Fatalf("the %s journal makes another book (-live +replayed):\n%s", kind, d)
					}
				}
				for ref, state := range s.book.states {
					if v, _ := s.book.find(ref); v == nil || v.Ended != (v.State != mesosv1.TaskState_TASK_STAGING && Terminal(v.State)) && !state.silent {
						t.Fatalf("%v is booked and not there, or its end is not its state's", ref)
					}
				}
			},
		})
	})
}

func TestEveryKindOfFactHasANameOfItsOwn(t *testing.T) {
	seen := map[string]FactKind{}
	for k := range factKinds {
		other, taken := seen[k.String()]
		if k.String() == "" || taken {
			t.Errorf("fact %d is %q, as is %d", k, k, other)
		}
		seen[k.String()] = k
	}
}
