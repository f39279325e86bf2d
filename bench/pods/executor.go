package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/executor"
	"github.com/pando-os/pando/mesos"
)

// beExecutor is an executor that runs nothing: a task's data says whether it ends at once or stays.
func beExecutor(ctx context.Context) error {
	ids := func(c *executor.Call) *executor.Call {
		c.FrameworkId, c.ExecutorId = &mesosv1.FrameworkID{Value: new(os.Getenv("MESOS_FRAMEWORK_ID"))}, &mesosv1.ExecutorID{Value: new(os.Getenv("MESOS_EXECUTOR_ID"))}
		return c
	}
	post := func(c *executor.Call) (*http.Response, error) {
		body, err := proto.Marshal(ids(c))
		if err != nil {
			return nil, err
		}
		r, err := http.NewRequestWithContext(ctx, //nolint:gosec // the agent that started this says where it is
			http.MethodPost, "http://"+os.Getenv("MESOS_AGENT_ENDPOINT")+"/api/v1/executor", bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", "application/x-protobuf")
		r.Header.Set("Accept", "application/x-protobuf")
		return http.DefaultClient.Do(r) //nolint:gosec // as above
	}
	update := func(t *mesosv1.TaskInfo, s mesosv1.TaskState) error {
		id := uuid.New()
		r, err := post(&executor.Call{Type: executor.Call_UPDATE.Enum(), Update: &executor.Call_Update{Status: &mesosv1.TaskStatus{
			TaskId: t.TaskId, State: &s, Source: mesosv1.TaskStatus_SOURCE_EXECUTOR.Enum(), Uuid: id[:],
		}}})
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, r.Body) // so that its connection is used again
		if r.StatusCode != http.StatusAccepted {
			return errors.Join(errors.New(r.Status), r.Body.Close())
		}
		return r.Body.Close()
	}
	stream, err := post(&executor.Call{Type: executor.Call_SUBSCRIBE.Enum(), Subscribe: &executor.Call_Subscribe{}})
	if err != nil {
		return err
	}
	defer stream.Body.Close()
	if stream.StatusCode != http.StatusOK {
		return fmt.Errorf("the agent answers %s", stream.Status)
	}
	records := mesos.NewRecordReader(stream.Body, 64<<20)
	for {
		record, err := records.Next()
		if err != nil {
			return err
		}
		var e executor.Event
		if err := proto.Unmarshal(record, &e); err != nil {
			return err
		}
		switch e.GetType() {
		case executor.Event_LAUNCH:
			t := e.GetLaunch().GetTask()
			err := update(t, mesosv1.TaskState_TASK_RUNNING)
			if string(t.GetData()) == "end" {
				err = errors.Join(err, update(t, mesosv1.TaskState_TASK_FINISHED))
			}
			if err != nil {
				return err
			}
		case executor.Event_SHUTDOWN:
			return nil
		default:
		}
	}
}
