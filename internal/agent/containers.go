package agent

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/diskwatch"
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
	dst = appendStats(append(dst, `,"statistics":`...), s, b.disk)
	return dst
}

// appendStats appends a ResourceStatistics. A limit that is not set is left out, and with it what is counted against it.
func appendStats(dst []byte, s *container.Stats, disk diskwatch.Use) []byte {
	dst = v0.Number(append(dst, `{"timestamp":`...), s.Timestamp)
	dst = v0.Number(append(dst, `,"cpus_user_time_secs":`...), s.CPUsUserSecs)
	dst = v0.Number(append(dst, `,"cpus_system_time_secs":`...), s.CPUsSystemSecs)
	if s.CPUsLimit > 0 {
		dst = v0.Number(append(dst, `,"cpus_limit":`...), s.CPUsLimit)
		dst = strconv.AppendUint(append(dst, `,"cpus_nr_periods":`...), s.Periods, 10)
		dst = strconv.AppendUint(append(dst, `,"cpus_nr_throttled":`...), s.Throttled, 10)
		dst = v0.Number(append(dst, `,"cpus_throttled_time_secs":`...), s.ThrottledSecs)
	}
	dst = v0.Number(append(dst, `,"cpus_soft_limit":`...), s.CPUsSoftLimit)
	if disk.Limit > 0 {
		dst = strconv.AppendInt(append(dst, `,"disk_limit_bytes":`...), disk.Limit, 10)
		dst = strconv.AppendInt(append(dst, `,"disk_used_bytes":`...), disk.Used, 10)
	}
	for _, m := range []struct {
		name  string
		value uint64
		limit bool
	}{
		{`,"mem_total_bytes":`, s.MemTotal, false},
		{`,"mem_limit_bytes":`, s.MemLimit, true},
		{`,"mem_soft_limit_bytes":`, s.MemSoftLimit, true},
		{`,"mem_rss_bytes":`, s.MemRSS, false},
		{`,"mem_anon_bytes":`, s.MemAnon, false},
		{`,"mem_cache_bytes":`, s.MemCache, false},
		{`,"mem_file_bytes":`, s.MemFile, false},
		{`,"mem_mapped_file_bytes":`, s.MemMapped, false},
		{`,"mem_swap_bytes":`, s.MemSwap, false},
		{`,"mem_unevictable_bytes":`, s.MemUnevictable, false},
		{`,"mem_kmem_usage_bytes":`, s.MemKernel, false},
		{`,"mem_kmem_tcp_usage_bytes":`, s.MemKernelTCP, false},
	} {
		if !m.limit || m.value > 0 {
			dst = strconv.AppendUint(append(dst, m.name...), m.value, 10)
		}
	}
	// Nobody listens for memory pressure here; readers of these expect them to be there.
	return append(dst, `,"mem_low_pressure_counter":0,"mem_medium_pressure_counter":0,"mem_critical_pressure_counter":0}`...)
}
