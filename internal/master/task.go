package master

import (
	"net/http"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/master/reads"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
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
	p := reads.V1Task(task)
	p.User = &task.Spec.User
	b, err := mesos.AppendJSON(nil, p)
	if err != nil {
		serve.Fail(w, http.StatusInternalServerError, "The task cannot be encoded: "+err.Error())
		return
	}
	serve.JSON(w, r, b)
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
