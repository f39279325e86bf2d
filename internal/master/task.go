package master

import (
	"net/http"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// serveTask gives one task as the v1 message Task: unlike the endpoints of before, with reasons and messages. It is our own.
func (m *Master) serveTask(w http.ResponseWriter, r *http.Request) {
	t := m.leading(w, r)
	if t == nil {
		return
	}
	q := r.URL.Query()
	view, framework, id := t.view.Load(), q.Get("framework_id"), q.Get("task_id")
	task := view.Task(framework, id)
	if task == nil {
		view.CompletedTasksOf(framework, func(x *cluster.Task) bool {
			if x.Spec.ID == id {
				task = x // the latest of that id
			}
			return true
		})
	}
	if task == nil || !mayRead(r, view, task.Framework) {
		serve.Fail(w, http.StatusNotFound, "No task has this framework_id and task_id.")
		return
	}
	p, err := wireTask(task)
	if err == nil {
		var b []byte
		if b, err = mesos.AppendJSON(nil, p); err == nil {
			serve.JSON(w, r, b)
			return
		}
	}
	serve.Fail(w, http.StatusInternalServerError, "The task cannot be encoded: "+err.Error())
}

// mayRead says whether the asking user may see what belongs to a framework, living or completed.
func mayRead(r *http.Request, view *cluster.View, framework string) bool {
	who := serve.Who(r)
	if who.Root {
		return true
	}
	f := view.Framework(framework)
	if f == nil {
		view.CompletedFrameworks(func(x *cluster.Framework) bool {
			if x.Spec.ID == framework {
				f = x
			}
			return f == nil
		})
	}
	return f != nil && who.May(f.Spec.User)
}

// wireTask makes the v1 message of a task.
func wireTask(t *cluster.Task) (*mesosv1.Task, error) {
	var info mesosv1.TaskInfo
	if err := proto.Unmarshal(t.Spec.Info, &info); err != nil {
		return nil, err
	}
	p := &mesosv1.Task{
		Name: &t.Spec.Name, TaskId: &mesosv1.TaskID{Value: &t.Spec.ID}, FrameworkId: &mesosv1.FrameworkID{Value: &t.Framework},
		AgentId: &mesosv1.AgentID{Value: &t.Agent}, State: &t.State, Resources: t.Spec.Resources.ToProto(t.Role, resource.PostRefinement),
		Labels: info.GetLabels(), Discovery: info.GetDiscovery(), Container: info.GetContainer(), HealthCheck: info.GetHealthCheck(),
		KillPolicy: info.GetKillPolicy(), User: &t.Spec.User, Limits: info.GetLimits(),
	}
	if t.Spec.ExecutorID != "" {
		p.ExecutorId = &mesosv1.ExecutorID{Value: &t.Spec.ExecutorID}
	}
	if t.UpdateUUID != "" {
		p.StatusUpdateState, p.StatusUpdateUuid = &t.UpdateState, []byte(t.UpdateUUID)
	}
	for _, s := range t.Statuses {
		st := &mesosv1.TaskStatus{}
		if err := proto.Unmarshal(s.AppendProto(nil), st); err != nil {
			return nil, err
		}
		p.Statuses = append(p.Statuses, st)
	}
	return p, nil
}
