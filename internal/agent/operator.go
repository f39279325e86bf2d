package agent

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	genagent "github.com/pando-os/pando/gen/mesosv1/agent"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/figures"
	"github.com/pando-os/pando/internal/agent/nested"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/sandbox"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// serveOperator answers POST /api/v1. The order of the checks is the original's.
func (a *Agent) serveOperator(w http.ResponseWriter, r *http.Request) {
	if !serve.Post(w, r) {
		return
	}
	if stream, json, ok := serve.RecordsBody(w, r); stream || !ok {
		if ok {
			a.nested.ServeInput(a.lifetime(), w, r, json)
		}
		return
	}
	body, inJSON, ok := serve.CallBody(w, r)
	if !ok {
		return
	}
	call := &genagent.Call{}
	err := error(nil)
	if !inJSON {
		err = agentlink.CheckElements(body, call.ProtoReflect().Descriptor())
	}
	if err == nil {
		err = serve.DecodeCall(body, inJSON, call, "get_containers", "prune_images")
	}
	if err != nil {
		serve.Fail(w, http.StatusBadRequest, "The call cannot be read: "+err.Error())
		return
	}
	media, ok := serve.AnswerMedia(w, r)
	if !ok {
		return
	}
	if nested.Concerns(call) {
		a.nested.Serve(a.lifetime(), w, r, call, media)
		return
	}
	if media.Records {
		serve.NotAcceptable(w)
		return
	}
	asJSON := media.JSON
	rd, _ := a.reader(r)
	var answer *genagent.Response
	switch call.GetType() {
	case genagent.Call_SET_LOGGING_LEVEL:
		c := call.GetSetLoggingLevel()
		a.verbosity.ServeCall(w, r, c.GetLevel(), time.Duration(c.GetDuration().GetNanoseconds()))
		return
	case genagent.Call_PRUNE_IMAGES:
		a.imaged.ServePrune(w, r, call.GetPruneImages())
		return
	case genagent.Call_GET_METRICS:
		metrics, metricsErr := serve.Metrics(a.deps.Meter, a.deps.Clock, call.GetGetMetrics().GetTimeout())
		answer, err = &genagent.Response{GetMetrics: &genagent.Response_GetMetrics{Metrics: metrics}}, metricsErr
	case genagent.Call_LIST_FILES:
		answer, err = a.listFiles(r, call.GetListFiles().GetPath())
	case genagent.Call_READ_FILE:
		answer, err = a.readFile(r, call.GetReadFile())
	default:
		if list := rd.listing(call.GetType()); list != nil {
			b, listErr := serve.AppendListed(nil, kindOf(call.GetType()), list, asJSON)
			if listErr != nil {
				serve.FailWith(w, listErr)
				return
			}
			w.Header().Set("Content-Type", serve.ContentType(asJSON))
			serve.Write(w, r, b)
			return
		}
		answer = rd.facts(call)
	}
	if failed := (*sandbox.Error)(nil); errors.As(err, &failed) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(failed.Status)
		if failed.Status != http.StatusNotFound { // the original says nothing of what is not there
			_, _ = w.Write([]byte(failed.Message)) // a client that is gone needs no words
		}
		return
	}
	switch {
	case err != nil:
		serve.FailWith(w, err)
	case answer == nil:
		serve.Fail(w, http.StatusNotImplemented, "This version does not answer "+call.GetType().String()+" yet; docs/operator-api.md says which calls it answers.")
	default:
		answer.Type = kindOf(call.GetType()).Enum()
		serve.Respond(w, r, answer, asJSON)
	}
}

// kindOf gives the type of the answer to a call; they have the same names and other numbers.
func kindOf(call genagent.Call_Type) genagent.Response_Type {
	return genagent.Response_Type(genagent.Response_Type_value[call.String()])
}

// facts answers the calls that need little; nil for those that this version does not know.
func (r *reader) facts(call *genagent.Call) *genagent.Response {
	a := r.agent
	switch call.GetType() {
	case genagent.Call_GET_HEALTH:
		return &genagent.Response{GetHealth: &genagent.Response_GetHealth{Healthy: new(true)}}
	case genagent.Call_GET_VERSION:
		return &genagent.Response{GetVersion: &genagent.Response_GetVersion{VersionInfo: serve.VersionInfo(a.cfg.Version)}}
	case genagent.Call_GET_LOGGING_LEVEL:
		return &genagent.Response{GetLoggingLevel: &genagent.Response_GetLoggingLevel{Level: new(uint32(a.verbosity.Raised()))}}
	case genagent.Call_GET_FLAGS:
		var flags map[string]string
		_ = json.Unmarshal(a.flags, &flags) // of our own making
		out := &genagent.Response_GetFlags{}
		for _, name := range slices.Sorted(maps.Keys(flags)) {
			out.Flags = append(out.Flags, &mesosv1.Flag{Name: &name, Value: new(flags[name])})
		}
		return &genagent.Response{GetFlags: out}
	case genagent.Call_GET_AGENT:
		return &genagent.Response{GetAgent: &genagent.Response_GetAgent{AgentInfo: a.agentInfo(r.view.Agent)}}
	case genagent.Call_GET_RESOURCE_PROVIDERS:
		return &genagent.Response{GetResourceProviders: &genagent.Response_GetResourceProviders{}}
	case genagent.Call_GET_OPERATIONS:
		return &genagent.Response{GetOperations: r.operations()}
	case genagent.Call_GET_CONTAINERS:
		out := &genagent.Response_GetContainers{}
		all := func(*box) bool { return true }
		visit := func(b *box, s *container.Stats) {
			id := workload.ContainerID(b.container)
			use := &mesosv1.ResourceStatistics{}
			_ = mesos.UnmarshalJSON(figures.Append(nil, s, b.disk), use) // of our own making
			out.Containers = append(out.Containers, &genagent.Response_GetContainers_Container{
				FrameworkId: &mesosv1.FrameworkID{Value: &b.framework}, ExecutorId: &mesosv1.ExecutorID{Value: &b.executor},
				ExecutorName: &b.name, ContainerId: id, ResourceStatistics: use,
				ContainerStatus: &mesosv1.ContainerStatus{ContainerId: id, ExecutorPid: &b.pid, NetworkInfos: r.agent.deps.Networks.Of(b.container).Reported()},
			})
		}
		r.running(all, visit)
		if call.GetGetContainers().GetShowNested() {
			r.nested(all, visit)
		}
		out.Containers = append(out.Containers, r.started(call.GetGetContainers())...)
		return &genagent.Response{GetContainers: out}
	}
	return nil
}

// listing gives the answer to a call that lists what is there; nil for other calls.
func (r *reader) listing(call genagent.Call_Type) *mesos.Listing {
	switch call {
	case genagent.Call_GET_STATE:
		return &mesos.Listing{Name: "get_state", Number: 9, Inner: []mesos.Listing{*r.listTasks(1), *r.listExecutors(2), *r.listFrameworks(3)}}
	case genagent.Call_GET_FRAMEWORKS:
		return r.listFrameworks(11)
	case genagent.Call_GET_EXECUTORS:
		return r.listExecutors(12)
	case genagent.Call_GET_TASKS:
		return r.listTasks(13)
	}
	return nil
}

func (r *reader) listFrameworks(number protowire.Number) *mesos.Listing {
	live, past := r.groups()
	each := func(groups []*group) func(func(proto.Message) bool) {
		return func(yield func(proto.Message) bool) {
			for _, g := range groups {
				info := &mesosv1.FrameworkInfo{}
				_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(g.framework.Info, info) // the master has checked it
				info.Id = &mesosv1.FrameworkID{Value: &g.framework.ID}
				if !yield(&genagent.Response_GetFrameworks_Framework{FrameworkInfo: info}) {
					return
				}
			}
		}
	}
	return &mesos.Listing{Name: "get_frameworks", Number: number, Lists: []mesos.List{
		{Name: "frameworks", Number: 1, Always: true, Each: each(live)},
		{Name: "completed_frameworks", Number: 2, Always: true, Each: each(past)},
	}}
}

// eachTask visits the tasks that the reader may see: those that are not forgotten, or those that are.
func (r *reader) eachTask(past bool, shown func(*workload.TaskView) proto.Message) func(func(proto.Message) bool) {
	live, former := r.groups()
	return func(yield func(proto.Message) bool) {
		for _, g := range slices.Concat(live, former) {
			list := g.tasks
			if past {
				list = g.completed
			}
			for _, t := range list {
				if m := shown(t); m != nil && !yield(m) {
					return
				}
			}
		}
	}
}

func (r *reader) listExecutors(number protowire.Number) *mesos.Listing {
	live, former := r.groups()
	each := func(past bool) func(func(proto.Message) bool) {
		ofCommands := r.eachTask(past, executorOf)
		return func(yield func(proto.Message) bool) {
			on := true
			ofCommands(func(m proto.Message) bool {
				on = yield(m)
				return on
			})
			for _, g := range slices.Concat(live, former) {
				own := g.executors
				if past {
					own = g.past
				}
				for _, x := range own {
					if on = on && yield(ownExecutor(x)); !on {
						return
					}
				}
			}
		}
	}
	return &mesos.Listing{Name: "get_executors", Number: number, Lists: []mesos.List{
		{Name: "executors", Number: 1, Always: true, Each: each(false)},
		{Name: "completed_executors", Number: 2, Always: true, Each: each(true)},
	}}
}

// ownExecutor is one that a framework brought.
func ownExecutor(x *workload.ExecutorView) proto.Message {
	info := &mesosv1.ExecutorInfo{}
	_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(x.Spec.Info, info) // the master has checked it
	info.ExecutorId, info.FrameworkId = &mesosv1.ExecutorID{Value: &x.Spec.ID}, &mesosv1.FrameworkID{Value: &x.Spec.Framework}
	info.Resources = x.Spec.Resources.ToProto(x.Spec.Role, resource.PostRefinement)
	return &genagent.Response_GetExecutors_Executor{ExecutorInfo: info}
}

// executorOf is the executor that the original gives to a command: a task has one of its own. It is nil for a task whose
// framework brought one.
func executorOf(t *workload.TaskView) proto.Message {
	if t.Task.Executor != nil {
		return nil
	}
	var info mesosv1.TaskInfo
	_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(t.Task.Info, &info) // the master has checked it
	return &genagent.Response_GetExecutors_Executor{ExecutorInfo: &mesosv1.ExecutorInfo{
		ExecutorId: &mesosv1.ExecutorID{Value: &t.Task.ID}, FrameworkId: &mesosv1.FrameworkID{Value: &t.Task.Framework},
		Name: new(executorName(t.Task)), Source: &t.Task.ID, Resources: t.Task.Resources.ToProto(t.Task.Role, resource.PostRefinement),
		Command: info.GetCommand(), Container: info.GetContainer(), Labels: info.GetLabels(), Discovery: info.GetDiscovery(),
	}}
}

func (r *reader) listTasks(number protowire.Number) *mesos.Listing {
	when := func(keep func(t *workload.TaskView) bool) func(*workload.TaskView) proto.Message {
		return func(t *workload.TaskView) proto.Message {
			if !keep(t) {
				return nil
			}
			return r.taskOf(t)
		}
	}
	registering := map[[2]string]bool{}
	for _, x := range r.view.Executors {
		if x.State == workload.ExecutorRegistering {
			registering[[2]string{x.Spec.Framework, x.Spec.ID}] = true
		}
	}
	waits := func(t *workload.TaskView) bool {
		if x := t.Task.Executor; x != nil && !x.Default {
			return registering[[2]string{t.Task.Framework, x.ID}]
		}
		return t.PID == 0
	}
	queued := func(t *workload.TaskView) bool { return !t.Ended && waits(t) }
	launched := func(t *workload.TaskView) bool { return !t.Ended && !waits(t) }
	ended := func(t *workload.TaskView) bool { return t.Ended }
	return &mesos.Listing{Name: "get_tasks", Number: number, Lists: []mesos.List{
		{Name: "pending_tasks", Number: 1, Always: true, Each: func(func(proto.Message) bool) {}}, // nothing is authorised by somebody else
		{Name: "queued_tasks", Number: 2, Always: true, Each: r.eachTask(false, when(queued))},
		{Name: "launched_tasks", Number: 3, Always: true, Each: r.eachTask(false, when(launched))},
		{Name: "terminated_tasks", Number: 4, Always: true, Each: r.eachTask(false, when(ended))},
		{Name: "completed_tasks", Number: 5, Always: true, Each: r.eachTask(true, when(func(*workload.TaskView) bool { return true }))},
	}}
}

func (r *reader) taskOf(t *workload.TaskView) *mesosv1.Task {
	var i mesosv1.TaskInfo
	_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(t.Task.Info, &i) // the master has checked it
	out := &mesosv1.Task{
		Name: &t.Task.Name, TaskId: &mesosv1.TaskID{Value: &t.Task.ID}, FrameworkId: &mesosv1.FrameworkID{Value: &t.Task.Framework},
		AgentId: &mesosv1.AgentID{Value: &r.view.Agent}, State: &t.State, Resources: t.Task.Resources.ToProto(t.Task.Role, resource.PostRefinement),
		Labels: i.GetLabels(), Discovery: i.GetDiscovery(), Container: i.GetContainer(), HealthCheck: i.GetHealthCheck(),
		KillPolicy: i.GetKillPolicy(), Limits: i.GetLimits(),
	}
	if u := i.GetCommand().GetUser(); u != "" {
		out.User = &u
	}
	if x := t.Task.Executor; x != nil {
		out.ExecutorId = &mesosv1.ExecutorID{Value: &x.ID}
	}
	for _, s := range t.Statuses {
		bare, shown := s.WithoutData(), &mesosv1.TaskStatus{}
		_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(bare.AppendProto(nil), shown) // of our own making
		out.Statuses = append(out.Statuses, shown)
	}
	if n := len(out.Statuses); n > 0 {
		out.StatusUpdateState, out.StatusUpdateUuid = out.Statuses[n-1].State, out.Statuses[n-1].GetUuid()
	}
	return out
}

// mayLook says whether the asking user may see files; what is not attached is told as missing, to anybody.
func (a *Agent) mayLook(r *http.Request, path string) error {
	if at := a.files.Attached(path); at != "" && !a.maySee(r, at) {
		return &sandbox.Error{Status: http.StatusForbidden, Message: "not allowed to see these files"}
	}
	return nil
}

func (a *Agent) listFiles(r *http.Request, path string) (*genagent.Response, error) {
	if err := a.mayLook(r, path); err != nil {
		return nil, err
	}
	list, err := a.files.Browse(path)
	out := &genagent.Response_ListFiles{}
	for _, f := range list {
		out.FileInfos = append(out.FileInfos, &mesosv1.FileInfo{
			Path: &f.Path, Nlink: new(int32(f.Nlink)), Size: new(uint64(f.Size)), Mtime: &mesosv1.TimeInfo{Nanoseconds: new(int64(f.MTime * 1e9))},
			Mode: &f.Bits, Uid: &f.UID, Gid: &f.GID,
		})
	}
	return &genagent.Response{ListFiles: out}, err
}

func (a *Agent) readFile(r *http.Request, call *genagent.Call_ReadFile) (*genagent.Response, error) {
	path, length := call.GetPath(), int64(-1)
	if err := a.mayLook(r, path); err != nil {
		return nil, err
	}
	if call.Length != nil {
		length = int64(min(call.GetLength(), sandbox.MaxRead))
	}
	_, size, err := a.files.Read(path, -1, -1)
	if err != nil {
		return nil, err
	}
	data, _, err := a.files.Read(path, int64(min(call.GetOffset(), math.MaxInt64)), length)
	if data == nil {
		data = []byte{}
	}
	return &genagent.Response{ReadFile: &genagent.Response_ReadFile{Size: new(uint64(size)), Data: data}}, err
}
