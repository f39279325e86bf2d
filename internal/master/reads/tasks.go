package reads

import (
	"net/url"
	"slices"
	"strconv"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/fault"
	v0 "github.com/pando-os/pando/mesos/v0"
)

// defaultLimit is how many tasks /tasks gives to who does not say.
const defaultLimit = 100

// TaskQuery is what /tasks is asked for.
type TaskQuery struct {
	// Framework and Task pick; empty ones do not.
	Framework, Task string
	// Limit bounds the answer, after Offset tasks were passed over; a negative one is no bound.
	Limit, Offset int
	// Ascending shows the oldest first, by the time of a task's first status.
	Ascending bool
}

// ParseTaskQuery reads the query of /tasks. What is no whole number is refused.
func ParseTaskQuery(q url.Values) (TaskQuery, error) {
	t := TaskQuery{Framework: q.Get("framework_id"), Task: q.Get("task_id"), Limit: defaultLimit, Ascending: q.Get("order") == "asc"}
	for name, at := range map[string]*int{"limit": &t.Limit, "offset": &t.Offset} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return t, fault.New(fault.Invalid, "%s must be a whole number; it is %.40q", name, text)
		}
		*at = n
	}
	return t, nil
}

// Tasks appends tasks of all frameworks, ended ones too, as /tasks shows them.
func (r *Reader) Tasks(dst []byte, q TaskQuery) []byte {
	var all []*cluster.Task
	take := func(t *cluster.Task) bool {
		if q.Task == "" || q.Task == t.Spec.ID {
			all = append(all, t)
		}
		return true
	}
	for f := range r.View.Frameworks {
		if r.may(f) && (q.Framework == "" || q.Framework == f.Spec.ID) {
			r.View.TasksOf(f.Spec.ID, take)
			r.View.CompletedTasksOf(f.Spec.ID, take)
		}
	}
	for f := range r.View.CompletedFrameworks {
		if r.may(f) && (q.Framework == "" || q.Framework == f.Spec.ID) {
			r.View.CompletedTasksOf(f.Spec.ID, take)
		}
	}
	slices.SortStableFunc(all, func(a, b *cluster.Task) int { return byBirth(a, b, q.Ascending) })
	all = all[min(max(q.Offset, 0), len(all)):]
	if q.Limit >= 0 {
		all = all[:min(q.Limit, len(all))]
	}
	dst = append(dst, `{"tasks":[`...)
	for i, t := range all {
		dst = AppendTask(v0.Comma(dst, i), t)
	}
	return append(dst, "]}"...)
}

// byBirth orders by the time of the first status; tasks without one come first.
func byBirth(a, b *cluster.Task, ascending bool) int {
	switch {
	case len(a.Statuses) == 0 && len(b.Statuses) == 0:
		return 0
	case len(a.Statuses) == 0:
		return -1
	case len(b.Statuses) == 0:
		return 1
	}
	x, y := a.Statuses[0].Timestamp, b.Statuses[0].Timestamp
	if !ascending {
		x, y = y, x
	}
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// appendExecutors appends the executors of a framework's own.
func (r *Reader) appendExecutors(dst []byte, framework string) []byte {
	dst = append(dst, '[')
	n := 0
	r.View.ExecutorsOf(framework, func(e *cluster.Executor) bool {
		shown := v0.Executor{Framework: e.Framework, Agent: e.Agent, Role: e.Role, Resources: e.Spec.Resources, Info: e.Spec.Info}
		dst = shown.Append(v0.Comma(dst, n))
		n++
		return true
	})
	return append(dst, ']')
}
