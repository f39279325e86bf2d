package run

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/cli/fakecluster"
	"github.com/pando-os/pando/internal/cli/fate"
)

func twoTasks(o *Options) {
	o.Argv = nil
	o.Pod = &Pod{Need: NewNeed(.1, 32).WithDisk(10), Tasks: []PodTask{
		{Name: "first", Command: "one", Need: NewNeed(1, 64)}, {Name: "second", Command: "two", Need: NewNeed(2, 128)},
	}}
}

func TestAPodIsLaunchedAsOneGroupOnAnOfferThatHoldsAllOfIt(t *testing.T) {
	got := make(chan *mesosv1.TaskInfo, 2)
	e := start(t, func(c *fakecluster.Cluster, task *mesosv1.TaskInfo) {
		got <- task
		c.Update(task.GetTaskId().GetValue(), running, "")
		c.Update(task.GetTaskId().GetValue(), finished, "")
	}, twoTasks)
	e.cluster.Offer(3, 1024) // without the executor it would fit
	e.cluster.Await("DECLINE", 1)
	e.cluster.Offer(3.1, 224)
	e.finish(0)
	sums := map[string]string{}
	executors := map[string]bool{}
	for range 2 {
		x := <-got
		sums[x.GetName()] = x.GetCommand().GetValue()
		executors[x.GetExecutor().GetExecutorId().GetValue()] = true
		if x.GetExecutor().GetType() != mesosv1.ExecutorInfo_DEFAULT || len(x.GetExecutor().GetResources()) != 3 || len(x.GetResources()) != 2 {
			t.Error(x)
		}
	}
	if diff := cmp.Diff(map[string]string{"first": "one", "second": "two"}, sums); diff != "" || len(executors) != 1 {
		t.Error(diff, executors)
	}
	if calls := e.cluster.Calls(); strings.Count(strings.Join(calls, ","), "ACCEPT") != 1 || !slices.Contains(calls, "DECLINE") {
		t.Error(calls)
	}
}

func TestThePodsCodeIsThatOfTheTaskThatFailedFirst(t *testing.T) {
	e := start(t, func(c *fakecluster.Cluster, task *mesosv1.TaskInfo) {
		if task.GetName() == "first" {
			return
		}
		own := task.GetTaskId().GetValue()
		other := strings.Replace(own, "second", "first", 1)
		for _, id := range []string{own, other} {
			c.Update(id, running, "")
		}
		c.Update(own, failed, "Command exited with status 7")
		c.Update(other, mesosv1.TaskState_TASK_KILLED, "Command terminated with signal Terminated")
	}, twoTasks)
	e.cluster.Offer(4, 1024)
	e.finish(7)
	e.awaitWords("task second on node-1")
}

func TestAPodThatIsDroppedIsLaunchedAgainWholeUnderAnotherExecutor(t *testing.T) {
	executors := make(chan string, 20)
	e := start(t, func(c *fakecluster.Cluster, task *mesosv1.TaskInfo) {
		executors <- task.GetExecutor().GetExecutorId().GetValue()
		state := finished
		if !strings.HasSuffix(task.GetTaskId().GetValue(), ".2") {
			state = mesosv1.TaskState_TASK_DROPPED
		}
		c.Update(task.GetTaskId().GetValue(), state, "")
	}, twoTasks)
	e.cluster.Offer(4, 1024)
	e.cluster.Await("ACKNOWLEDGE", 2)
	e.cluster.Offer(4, 1024)
	e.finish(0)
	times := map[string]int{}
	for range 4 {
		times[<-executors]++
	}
	for id, n := range times {
		if n != 2 || len(times) != 2 {
			t.Errorf("%d tasks of %s; the executors are %v", n, id, times)
		}
	}
}

func TestATaskOfAPodDoesNotWaitForWhatHasEnded(t *testing.T) {
	e := start(t, func(c *fakecluster.Cluster, task *mesosv1.TaskInfo) {
		state := finished
		if task.GetName() == "first" {
			state = mesosv1.TaskState_TASK_DROPPED
		}
		c.Update(task.GetTaskId().GetValue(), state, "")
	}, twoTasks)
	e.cluster.Offer(4, 1024)
	e.finish(fate.NeverStarted)
}
