package sim

import (
	"fmt"
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/setting"
	"github.com/pando-os/pando/internal/sim/stage"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// What frameworks of bad manners do beside what the others do. They do it as long as there are faults; whatever is promised of
// frameworks is promised of these too.

// acceptAgain sends an ACCEPT a second time, as it was or with other tasks.
func (f *framework) acceptAgain(o *cluster.Offer, ids []string, tasks []*cluster.TaskSpec, refuse time.Duration) {
	f.w.Cover.Fault(acceptedTwice)
	if f.w.Chance(0.5) {
		tasks = []*cluster.TaskSpec{f.newTask(o, taskSizes[0]).spec}
	}
	f.accept(ids, tasks, refuse)
}

// flood launches thousands of tasks on one offer: as many as fit, up to a bound, and the others do not.
func (f *framework) flood(o *cluster.Offer, ids []string, left resource.List, refuse time.Duration) {
	w := f.w
	w.Cover.Fault(floods)
	f.floods++
	size := setting.Resources("cpus:0.1;mem:4")
	var tasks []*cluster.TaskSpec
	for len(tasks) < 40 && left.Contains(size) {
		left = left.Minus(size)
		tasks = append(tasks, f.newTask(o, size).spec)
	}
	for n := range 2000 {
		id := fmt.Sprintf("flood%d", n)
		tasks = append(tasks, &cluster.TaskSpec{ID: id, Name: id, AgentID: o.Agent, User: "root", Resources: setting.Resources("cpus:100000"), Info: []byte(id)})
	}
	f.accept(ids, tasks, refuse)
}

// resubscribe opens many streams in a row, some before the last was answered.
func (f *framework) resubscribe() {
	w := f.w
	w.Cover.Fault(streamsInARow)
	at := time.Duration(0)
	for range 30 {
		at += w.Between(0, 20*time.Millisecond)
		w.After(at, func() {
			if f.c != nil && f.id != "" && !w.Calm {
				f.subscribe(f.at)
			}
		})
	}
}

// acknowledgeWrongly acknowledges what was not told: with a uuid that nobody gave, of another task, agent or framework.
func (f *framework) acknowledgeWrongly(s *mesos.Status) {
	w := f.w
	w.Cover.Fault(wrongAcknowledgements)
	in := &cluster.Acknowledge{Agent: s.AgentID, Task: s.TaskID, UUID: s.UUID}
	switch w.Rand.IntN(4) {
	case 0:
		in.UUID = fmt.Sprintf("nobody-%09d", w.Rand.IntN(1e9))
	case 1:
		in.Agent = w.anyAgent()
	case 2:
		if i := f.insts[w.Rand.IntN(len(f.insts))]; i.heardOf > 0 { // one that it had, perhaps long ago
			in.Agent, in.Task, in.UUID = i.agent, i.id, i.updates[w.Rand.IntN(i.heardOf)]
		}
	case 3:
		in.Task = fmt.Sprintf("t%d", w.Rand.IntN(f.next+1))
	}
	if in.Agent == s.AgentID && in.Task == s.TaskID && in.UUID == s.UUID {
		return
	}
	f.call(in)
}

// crowd lets somebody subscribe many times in a row as somebody new.
func (w *World) crowd() {
	m := w.pickMaster()
	at := time.Duration(0)
	for n := range 40 {
		at += w.Between(0, 50*time.Millisecond)
		w.After(at, func() {
			c := w.Connect(crowdName, m.name)
			c.Ends[stage.Near].Recv, c.Ends[stage.Near].Closed = func(any) {}, func() {}
			w.dial(c, m, &cluster.Subscribe{Stream: cluster.StreamID(w.ID()), Spec: &cluster.FrameworkSpec{
				Name: crowdName, User: "root", Roles: []string{"*"}, Info: fmt.Appendf(nil, "%s|%d", crowdName, n), FailoverTimeout: time.Second,
			}})
			w.After(w.Between(0, 3*time.Second), c.Close)
		})
	}
}

const crowdName = "crowd"

// What is counted of all this.
const (
	lies                  = "a message of an agent that lies"
	acceptedTwice         = "an offer that is accepted twice"
	floods                = "thousands of tasks on one offer"
	streamsInARow         = "thirty streams of one framework in a row"
	wrongGroups           = "a group that is wrong"
	wrongAcknowledgements = "an acknowledgement of what was not told"
)

var crowds = []fault{
	{"forty new frameworks subscribe in a row", 1, func(w *World) bool {
		w.crowd()
		return true
	}},
}
