package agent

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/diskwatch"
	"github.com/pando-os/pando/internal/agent/figures"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
	v0 "github.com/pando-os/pando/mesos/v0"
)

// box is a container that runs, by its executor: a command task is one to itself.
type box struct {
	container, framework, executor, name, source string
	pid                                          uint32
	disk                                         diskwatch.Use // zero: it was not looked at
}

// running visits the containers that have a process and that the reader may see, with what each uses. One that ends
// meanwhile is passed over.
func (r *reader) running(keep func(*box) bool, visit func(*box, *container.Stats)) {
	live, _ := r.groups()
	look := func(b *box) {
		if b.pid == 0 || !keep(b) {
			return
		}
		b.disk, _ = r.agent.disk.Of(b.container)
		if s, err := r.agent.deps.Runtime.Stats(b.container); err == nil {
			visit(b, &s)
		}
	}
	for _, g := range live {
		for _, t := range g.tasks {
			if !t.Ended && t.Task.Executor == nil {
				look(&box{t.Container, t.Task.Framework, t.Task.ID, executorName(t.Task), t.Task.ID, t.PID, diskwatch.Use{}})
			}
		}
		for _, x := range g.executors {
			look(&box{x.Container, x.Spec.Framework, x.Spec.ID, x.Spec.Name, x.Spec.Source, x.PID, diskwatch.Use{}})
		}
	}
}

// serveContainers lists containers: all, one by its id, or those of a framework or of one of its executors.
func (a *Agent) serveContainers(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	id, framework, executor := q.Get("container_id"), q.Get("framework_id"), q.Get("executor_id")
	if id != "" && (framework != "" || executor != "") || executor != "" && framework == "" {
		serve.Fail(w, http.StatusBadRequest, "The query may name container_id alone, framework_id alone, or framework_id and executor_id.")
		return
	}
	rd, _ := a.reader(r)
	dst, n := []byte{'['}, 0
	keep := func(b *box) bool {
		return (id == "" || id == b.container) && (framework == "" || framework == b.framework) && (executor == "" || executor == b.executor)
	}
	visit := func(b *box, s *container.Stats) {
		_, own := cutLast(b.container)
		dst = v0.Text(append(v0.Comma(dst, n), `{"container_id":`...), own)
		dst = appendUse(append(dst, ','), b, s)
		dst = appendContainerID(append(dst, `,"status":{"container_id":`...), b.container)
		dst = strconv.AppendUint(append(dst, `,"executor_pid":`...), uint64(b.pid), 10)
		if nets := a.deps.Networks.Of(b.container); nets != nil {
			dst = append(dst, `,"network_infos":[`...)
			for i, info := range nets.Infos {
				dst, _ = mesos.AppendJSON(v0.Comma(dst, i), info) // of our own making
			}
			dst = append(dst, ']')
		}
		dst = append(dst, "}}"...)
		n++
	}
	rd.running(keep, visit)
	if q.Get("show_nested") == "true" {
		rd.nested(keep, visit)
	}
	serve.JSON(w, r, append(dst, ']'))
}

// cutLast cuts the container's own id off the ids of those above it.
func cutLast(container string) (above, own string) {
	i := strings.LastIndexByte(container, '.')
	return container[:max(0, i)], container[i+1:]
}

// appendContainerID appends a ContainerID, with those above it as its parents.
func appendContainerID(dst []byte, container string) []byte {
	above, own := cutLast(container)
	dst = append(dst, '{')
	if above != "" {
		dst = append(appendContainerID(append(dst, `"parent":`...), above), ',')
	}
	return append(v0.Text(append(dst, `"value":`...), own), '}')
}

// serveStatistics lists what executors use.
func (a *Agent) serveStatistics(w http.ResponseWriter, r *http.Request) {
	rd, _ := a.reader(r)
	dst, n := []byte{'['}, 0
	rd.running(func(*box) bool { return true }, func(b *box, s *container.Stats) {
		dst = append(appendUse(append(v0.Comma(dst, n), '{'), b, s), '}')
		n++
	})
	serve.JSON(w, r, append(dst, ']'))
}

// appendUse appends the members that name an executor and say what it uses.
func appendUse(dst []byte, b *box, s *container.Stats) []byte {
	dst = v0.Text(append(dst, `"executor_id":`...), b.executor)
	dst = v0.Text(append(dst, `,"executor_name":`...), b.name)
	dst = v0.Text(append(dst, `,"framework_id":`...), b.framework)
	dst = v0.Text(append(dst, `,"source":`...), b.source)
	dst = figures.Append(append(dst, `,"statistics":`...), s, b.disk)
	return dst
}
