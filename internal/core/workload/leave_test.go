package workload

import "testing"

// settled is a running task of an agent that has found its containers.
func settled(t *testing.T) *bench {
	t.Helper()
	s := running(t)
	s.step(&Recovered{Containers: []Found{{Container: s.container("t1"), PID: 7}}})
	return s
}

func TestAnAgentThatLeavesEndsItsTasksSilentlyAndThenSaysGoodbye(t *testing.T) {
	s := settled(t)
	s.expect(t, &Leave{}, "kill t1 3s")
	s.expect(t, &Leave{}) // once is enough
	s.expect(t, run("t2"))
	s.expect(t, exited(s, "t1", 9), "unregister", "forget", "left")
	s.expect(t, nil)
}

func TestAnAgentWithNothingToEndLeavesAtOnce(t *testing.T) {
	s := newBench(t)
	s.join()
	s.step(&Recovered{})
	s.expect(t, &Leave{}, "unregister", "left")
}

func TestAnAgentThatLeavesWithoutAMasterSaysGoodbyeWhenThereIsOne(t *testing.T) {
	s := settled(t)
	s.step(&Unlinked{})
	s.expect(t, &Leave{}, "kill t1 3s")
	s.expect(t, exited(s, "t1", 9), "forget", "left")
	s.expect(t, &Linked{Link: 2, Epoch: 5}, "register S1")
	s.expect(t, &Registered{Agent: "S1", Info: []byte("S1"), Unknown: []UnknownTask{{Ref: Ref{"F", "t1"}, Launch: 9}}}, "unregister")
}

func TestATaskOfAnAgentThatDiedWhileItLeftIsToldOf(t *testing.T) {
	s := settled(t)
	s.step(&Leave{})
	c := s.container("t1")
	s.restart()
	s.step(&Recovered{Containers: []Found{{Container: c, PID: 7}}})
	// The master may be a new one, which knows of the task by this alone: what it holds must not be offered.
	s.expect(t, &Linked{Link: 1, Epoch: 5}, "register S1 t1:RUNNING")
	s.expect(t, &Registered{Agent: "S1", Info: []byte("S1")})
	s.expect(t, exited(s, "t1", 9), "update t1 KILLED", "forget")
	s.restart() // and the end is owed, whatever comes
	s.step(&Recovered{})
	s.expect(t, &Linked{Link: 2, Epoch: 5}, "register S1 t1:KILLED")
	s.expect(t, &Registered{Agent: "S1", Info: []byte("S1")}, "update t1 KILLED")
}
