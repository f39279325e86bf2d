package cluster

import (
	"cmp"
	"time"

	"github.com/tidwall/btree"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// Agent is one machine of the cluster. Values are replaced, never changed.
type Agent struct {
	Spec *AgentSpec
	Mark Mark
	// Recovered agents are known from the registry and have not come back since the election.
	Recovered bool
	Connected bool
	// Since is when it was marked; Registered and Reregistered when it came; nanoseconds since the epoch.
	Since, Registered, Reregistered int64
}

// Active agents are offered.
func (a *Agent) Active() bool { return a.Connected && a.Mark == Admitted && !a.Recovered }

// Framework is one scheduler. Values are replaced, never changed.
type Framework struct {
	Spec       *FrameworkSpec
	Suppressed []string
	// Constraints are in force; ConstraintsInfo is their encoded form.
	Constraints     *mesos.Constraints
	ConstraintsInfo []byte
	Stream          StreamID
	Connected       bool
	// Recovered frameworks are known from the registry or from agents and have not come back since the election.
	Recovered bool
	// Times are nanoseconds since the epoch.
	Registered, Reregistered, Unregistered int64
}

// Task is one task. Values are replaced, never changed.
type Task struct {
	Framework, Agent, Role string
	Spec                   *TaskSpec
	// State is the latest known; UpdateState what the framework was told last.
	State, UpdateState mesosv1.TaskState
	// UpdateUUID is of the update that waits for an acknowledgement; empty when none does.
	UpdateUUID string
	// Statuses are the changes of state told so far, oldest first, one a state, without data.
	Statuses []*mesos.Status
	// Released says that its resources were given back: it has ended.
	Released bool
	// Unreachable says that its agent is; the state before is kept in Before.
	Unreachable bool
	Before      mesosv1.TaskState
	// KillGrace is set while a kill is owed to the agent.
	KillGrace *time.Duration

	launch uint64 // its number; 0 when it never reached its agent
	seq    uint64 // its place among the completed
}

// Offer is resources of one agent that lie with one framework. Values are never changed.
type Offer struct {
	ID, Framework, Agent, Role string
	Resources                  resource.List
	Spec                       *AgentSpec
	Legacy                     bool
	// Executors are the framework's on the agent.
	Executors []string
	Format    resource.Format
	// Made is the Mono time of its making.
	Made time.Duration
}

type (
	agentTree     = btree.BTreeG[*Agent]
	frameworkTree = btree.BTreeG[*Framework]
	taskTree      = btree.BTreeG[*Task]
	offerTree     = btree.BTreeG[*Offer]
	executorTree  = btree.BTreeG[*Executor]
)

func newTree[T any](less func(a, b T) bool) *btree.BTreeG[T] {
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

func lessAgent(a, b *Agent) bool         { return a.Spec.ID < b.Spec.ID }
func lessFramework(a, b *Framework) bool { return a.Spec.ID < b.Spec.ID }
func lessOffer(a, b *Offer) bool         { return a.ID < b.ID }
func lessTask(a, b *Task) bool {
	if a.Framework != b.Framework {
		return a.Framework < b.Framework
	}
	return a.Spec.ID < b.Spec.ID
}

func lessCompleted(a, b *Task) bool {
	if a.Framework != b.Framework {
		return a.Framework < b.Framework
	}
	return a.seq < b.seq
}

func lessCompletedFramework(a, b *Framework) bool {
	return cmp.Or(cmp.Compare(a.Unregistered, b.Unregistered), cmp.Compare(a.Spec.ID, b.Spec.ID)) < 0
}

// View is the book at one moment: readers keep it as long as they like, and never wait for the machine.
type View struct {
	MasterID         string
	Started, Elected int64

	agents     *agentTree
	frameworks *frameworkTree
	completed  *frameworkTree
	tasks      *taskTree
	done       *taskTree
	offers     *offerTree
	executors  *executorTree
	operations *operationTree
}

// View gives the book as it is now. It costs the same however large the book is.
func (b *Book) View() *View {
	return &View{
		MasterID: b.cfg.MasterID, Started: b.cfg.Started, Elected: b.elected,
		agents: b.agents.Ordered().Copy(), frameworks: b.frameworks.Ordered().Copy(), completed: b.completed.Copy(),
		tasks: b.tasks.Ordered().Copy(), done: b.done.Copy(), offers: b.offers.Copy(), executors: b.executors.Ordered().Copy(),
		operations: b.operations.Ordered().Copy(),
	}
}

// Agents visits every agent by id until yield says stop.
func (v *View) Agents(yield func(*Agent) bool) { v.agents.Scan(yield) }

// Frameworks visits every framework that lives, by id.
func (v *View) Frameworks(yield func(*Framework) bool) { v.frameworks.Scan(yield) }

// CompletedFrameworks visits those that ended, the oldest first.
func (v *View) CompletedFrameworks(yield func(*Framework) bool) { v.completed.Scan(yield) }

// Offers visits every outstanding offer.
func (v *View) Offers(yield func(*Offer) bool) { v.offers.Scan(yield) }

// Tasks visits every task that is not completed, by framework and id.
func (v *View) Tasks(yield func(*Task) bool) { v.tasks.Scan(yield) }

// Agent finds one agent; nil when there is none.
func (v *View) Agent(id string) *Agent {
	a, _ := v.agents.Get(&Agent{Spec: &AgentSpec{ID: id}})
	return a
}

// Framework finds one framework that lives; nil when there is none.
func (v *View) Framework(id string) *Framework {
	f, _ := v.frameworks.Get(&Framework{Spec: &FrameworkSpec{ID: id}})
	return f
}

// Task finds one task that is not completed; nil when there is none.
func (v *View) Task(framework, id string) *Task {
	task, _ := v.tasks.Get(&Task{Framework: framework, Spec: &TaskSpec{ID: id}})
	return task
}

// TasksOf visits a framework's tasks that are not completed, by id.
func (v *View) TasksOf(framework string, yield func(*Task) bool) {
	tasksOf(v.tasks, framework, yield)
}

// CompletedTasksOf visits a framework's completed tasks, the oldest first.
func (v *View) CompletedTasksOf(framework string, yield func(*Task) bool) {
	v.done.Ascend(&Task{Framework: framework, Spec: noTask}, func(t *Task) bool {
		return t.Framework == framework && yield(t)
	})
}

var noTask = &TaskSpec{}

func tasksOf(t *taskTree, framework string, yield func(*Task) bool) {
	t.Ascend(&Task{Framework: framework, Spec: noTask}, func(x *Task) bool {
		return x.Framework == framework && yield(x)
	})
}

func agentKey(a *Agent) string         { return a.Spec.ID }
func frameworkKey(f *Framework) string { return f.Spec.ID }
func taskKey(t *Task) FrameworkTask    { return FrameworkTask{t.Framework, t.Spec.ID} }
