package master

import (
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/meter"
	"github.com/pando-os/pando/mesos"
)

// ends counts how tasks and offer operations end, under the original's names. Those of tasks are made when the first one ends
// so: there are thousands of ways, and few are gone.
type ends struct {
	meter      *meter.Meter
	tasks      map[taskEnd]*meter.Counter
	operations map[operationEndKind]*meter.Counter
}

type taskEnd struct {
	state  mesosv1.TaskState
	source mesosv1.TaskStatus_Source
	reason mesosv1.TaskStatus_Reason
}

type operationEndKind struct {
	what  mesosv1.Offer_Operation_Type
	state mesosv1.OperationState
}

// operationTypes are the offer operations that metrics know.
var operationTypes = []mesosv1.Offer_Operation_Type{
	mesosv1.Offer_Operation_RESERVE, mesosv1.Offer_Operation_UNRESERVE, mesosv1.Offer_Operation_CREATE, mesosv1.Offer_Operation_DESTROY,
	mesosv1.Offer_Operation_GROW_VOLUME, mesosv1.Offer_Operation_SHRINK_VOLUME, mesosv1.Offer_Operation_CREATE_DISK, mesosv1.Offer_Operation_DESTROY_DISK,
}

// Operations that have not ended, and their ends.
var (
	operationsOpen = []mesosv1.OperationState{
		mesosv1.OperationState_OPERATION_PENDING, mesosv1.OperationState_OPERATION_RECOVERING, mesosv1.OperationState_OPERATION_UNREACHABLE,
	}
	operationsEnded = []mesosv1.OperationState{
		mesosv1.OperationState_OPERATION_FINISHED, mesosv1.OperationState_OPERATION_FAILED, mesosv1.OperationState_OPERATION_ERROR,
		mesosv1.OperationState_OPERATION_DROPPED, mesosv1.OperationState_OPERATION_GONE_BY_OPERATOR,
	}
)

func newEnds(m *meter.Meter) *ends {
	e := &ends{meter: m, tasks: map[taskEnd]*meter.Counter{}, operations: map[operationEndKind]*meter.Counter{}}
	for _, what := range operationTypes {
		for _, s := range operationsEnded {
			e.operations[operationEndKind{what, s}] = m.Counter("master/operations/" + lower(what) + "/" + operationState(s))
		}
	}
	return e
}

// task counts a status that says an end, or a state from which nobody knows an end, and why.
func (e *ends) task(s *mesos.Status) {
	if s == nil || !s.HasReason || !cluster.Terminal(s.State) && s.State != mesosv1.TaskState_TASK_UNREACHABLE {
		return
	}
	k := taskEnd{s.State, s.Source, s.Reason}
	n := e.tasks[k]
	if n == nil {
		n = e.meter.Counter("master/task_" + strings.TrimPrefix(lower(s.State), "task_") + "/" + old(s.Source) + "/" + old(s.Reason))
		e.tasks[k] = n
	}
	n.Inc()
}

// operation counts an end.
func (e *ends) operation(what mesosv1.Offer_Operation_Type, s mesosv1.OperationState) {
	if n := e.operations[operationEndKind{what, s}]; n != nil {
		n.Inc()
	}
}

// emit gives what is known of operations now, and the sums of their ends.
func (e *ends) emit(v *cluster.View, emit func(name string, value float64)) {
	known, open := map[mesosv1.Offer_Operation_Type]int{}, map[operationEndKind]int{}
	for o := range v.Operations {
		what := operationType(o.Info)
		known[what]++
		open[operationEndKind{what, o.State}]++
	}
	all := 0
	sums := map[mesosv1.OperationState]float64{}
	for _, what := range operationTypes {
		all += known[what]
		emit("master/operations/"+lower(what)+"/total", float64(known[what]))
		for _, s := range operationsOpen {
			n := float64(open[operationEndKind{what, s}])
			sums[s] += n
			emit("master/operations/"+lower(what)+"/"+operationState(s), n)
		}
		for _, s := range operationsEnded {
			sums[s] += float64(e.operations[operationEndKind{what, s}].Value())
		}
	}
	emit("master/operations/total", float64(all))
	for s, n := range sums { // order: names are sorted when they are shown
		emit("master/operations/"+operationState(s), n)
	}
}

// operationType reads the type of an encoded Offer.Operation.
func operationType(info []byte) mesosv1.Offer_Operation_Type {
	o := &mesosv1.Offer_Operation{}
	_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(info, o) // the shell has checked it
	return o.GetType()
}

func operationState(s mesosv1.OperationState) string {
	return strings.TrimPrefix(lower(s), "operation_")
}

func lower(s interface{ String() string }) string { return strings.ToLower(s.String()) }

// old is a name as it was when agents were called slaves.
func old(s interface{ String() string }) string {
	return strings.ReplaceAll(lower(s), "agent", "slave")
}
