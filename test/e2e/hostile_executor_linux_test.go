package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/executor"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
)

// bomb forks without end, in several shells: one that can have no more processes dies.
const bomb = "b() { while :; do sleep 1000 & done; }; b & b & b & b"

// misbehave does what no executor should, says on standard output what came of it, and then forks without end.
func (x *myExecutor) misbehave() {
	say := func(what string, w *http.Response, err error) {
		if err != nil {
			fmt.Println(what, "error")
			return
		}
		_, _ = io.Copy(io.Discard, w.Body) // the status is what counts
		_ = w.Body.Close()
		fmt.Println(what, w.StatusCode)
	}
	foreign, id := "nobody's", uuid.New()
	u := &executor.Call_Update{Status: &mesosv1.TaskStatus{
		TaskId: &mesosv1.TaskID{Value: &foreign}, State: mesosv1.TaskState_TASK_RUNNING.Enum(), Source: mesosv1.TaskStatus_SOURCE_EXECUTOR.Enum(), Uuid: id[:],
	}}
	for range 1000 {
		w, err := x.post(&executor.Call{Type: executor.Call_UPDATE.Enum(), Update: u})
		if err == nil {
			_ = w.Body.Close()
		}
	}
	w, err := x.post(&executor.Call{Type: executor.Call_UPDATE.Enum(), Update: u})
	say("an update of a task that it does not have:", w, err)
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, x.url, io.LimitReader(endless{}, 100<<20))
	if err == nil {
		r.ContentLength = 100 << 20
		r.Header.Set("Content-Type", "application/x-protobuf")
		w, err = x.client.Do(r)
	}
	say("a message of 100 MB:", w, err)
	for range 50 { // which are never read
		w, err = x.post(&executor.Call{Type: executor.Call_SUBSCRIBE.Enum(), Subscribe: &executor.Call_Subscribe{}})
		if err != nil {
			fmt.Println("a subscription:", err)
			continue
		}
		defer w.Body.Close()
	}
	c := exec.Command("sh", "-c", bomb)
	fmt.Println("the bomb:", c.Start())
	time.Sleep(patience)
}

// endless is as many bytes as anybody reads.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestAnExecutorThatMisbehavesIsBoundedAndItsNeighboursDoNotNotice(t *testing.T) {
	need(t, true)
	n := newNode(t, "up", "--pids-limit", "100")
	n.start()
	v := &victim{node: n}
	f := subscribe(t, n.master)
	f.launch(task("neighbour", "exec sleep 1000"))
	before := v.memory(t)
	x := inExecutor(t, "bad", "protobuf bad")
	for _, r := range x.Executor.Resources {
		if r.GetName() == "mem" {
			r.Scalar.Value = new(512.0) // so that its memory is not what stops it
		}
	}
	x.Executor.ShutdownGracePeriod = &mesosv1.DurationInfo{Nanoseconds: new(int64(3e8))}
	f.launch(x)
	found, err := filepath.Glob(filepath.Join(n.data(), "agent/slaves/*/frameworks", f.s.FrameworkID(), "executors/ex/runs/latest/stdout"))
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("its output is in %v", found)
	}
	eventually(t, "it to have done its worst", func() error {
		b, err := os.ReadFile(found[0])
		if err == nil && !strings.Contains(string(b), "the bomb: <nil>") {
			err = fmt.Errorf("it says %q", b)
		}
		return err
	})
	b, err := os.ReadFile(found[0])
	must(t, err)
	for _, want := range []string{"an update of a task that it does not have: ", "a message of 100 MB: 413"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("it does not say %q but %q", want, b)
		}
	}
	most := 0
	for i := range 20 { // while the bomb goes off
		f.launch(task(fmt.Sprint("quick-", i), "true"))
		if s := f.end(fmt.Sprint("quick-", i)); s.GetState() != finished {
			t.Errorf("a neighbour's task ended as %v", s)
		}
		most = max(most, len(processesOf(t)["the-executor"]))
	}
	if most < 20 || most > 100 {
		t.Errorf("it had up to %d processes; the limit is 100", most)
	}
	if after := v.memory(t); after > before+150 {
		t.Errorf("the node grew from %d to %d MiB", before, after)
	}
	must(t, f.s.Call(t.Context(), &scheduler.Call{Type: scheduler.Call_SHUTDOWN.Enum(), Shutdown: &scheduler.Call_Shutdown{
		AgentId: f.await("bad", running).GetAgentId(), ExecutorId: x.GetExecutor().GetExecutorId(),
	}}))
	f.failure() // it does not heed SHUTDOWN, and is killed with all that it forked
	if p := processesOf(t)["the-executor"]; len(p) != 0 {
		t.Errorf("%d of its processes are left", len(p))
	}
	if s := f.states("neighbour"); s[len(s)-1] != "TASK_RUNNING" {
		t.Errorf("the neighbour became %v", s)
	}
	f.goodbye("neighbour")
}
