package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/sim/keep"
	"github.com/pando-os/pando/internal/sim/setting"
	"github.com/pando-os/pando/internal/sim/stage"
)

// How agents end and come back: told to leave, dismissed because they were marked gone, with an empty work directory, or
// configured anew. It is what internal/agent does around its book, played.

// farewell is how long an agent that leaves waits for the end of the link over which it said goodbye.
const farewell = 5 * time.Second

// dismiss follows a master's word that this agent was marked gone: its tasks end, and then it does.
func (a *agent) dismiss(c *stage.Conn) {
	a.dismissed = true
	a.w.Cover.Fault(dismissals)
	c.Close()
	a.unlink(c)
	a.p.Post(&workload.Leave{})
}

// vacated says that nothing of its tasks is here any more.
func (a *agent) vacated() {
	if a.dismissed {
		a.after(0, a.depart)
		return
	}
	a.after(farewell, a.depart)
}

// depart ends an agent that has left. Its machine is set up anew, or it comes back with what it has on its disk.
func (a *agent) depart() {
	a.w.Note("%s has left", a.p.Name)
	a.w.Cover.Fault(departures)
	a.emptied = a.w.Calm || a.w.Chance(0.6)
	a.p.Crash()
}

// empty removes the work directory: the agent that starts is a new one, and finds what the old one left running.
func (a *agent) empty() {
	a.w.Note("%s: the work directory is empty", a.name)
	a.emptied, a.journal, a.disk = false, nil, keep.NewDisk()
	a.w.check.keep.Wiped(a.name)
	a.forgotten()
}

// forgotten says that the agent that starts is not the one that was here.
func (a *agent) forgotten() {
	delete(a.w.check.here, a)
	delete(a.w.check.epochs, a)
}

// reconfigure changes the setting, to more or to other things, and how much of that is allowed.
func (a *agent) reconfigure() {
	a.had = append(a.had, a.Total)
	w := a.w
	a.policy = setting.Policy(w.Rand.IntN(3))
	switch w.Rand.IntN(4) {
	case 0:
		a.Total = a.Total.Plus(setting.Resources("cpus:1;mem:256"))
	case 1:
		a.Total = setting.Resources(fmt.Sprintf("cpus:%d;mem:%d;disk:%d", 1+w.Rand.IntN(2), 256<<w.Rand.IntN(2), 256>>w.Rand.IntN(2)))
	case 2:
		a.Attributes = append(slices.Clip(a.Attributes), fmt.Sprintf("disk%d:ssd", len(a.Attributes)))
	default:
		a.Attributes = []string{fmt.Sprintf("rack:r%d", w.Rand.IntN(100))}
	}
	w.Note("%s is configured anew: %s, policy %s", a.name, a.Info(), a.policy)
}

// identify looks whether the agent may go on as whom its journal says that it is, as internal/agent does: not when it is
// what its policy does not allow. After a reboot it is then a new agent; otherwise it does not start until its setting is put
// back.
func (a *agent) identify() bool {
	w := a.w
	was := &workload.Identity{}
	for i := range a.journal {
		if a.journal[i].Identity != nil {
			was = a.journal[i].Identity
		}
	}
	old := setting.Of(was.Info)
	_, lacks := a.Total.WithKept(workload.KeptOf(a.journal).Resources)
	switch {
	case lacks != nil:
		old = a.worked
	case was.Agent == "":
		a.worked = a.Setting
		return true
	case a.policy.Allows(old, a.Setting):
		a.worked = a.Setting
		switch {
		case !a.Total.Contains(old.Total):
			w.Cover.Fault(comesWithLess)
		case !old.Total.Contains(a.Total):
			w.Cover.Fault(comesWithMore)
		case !slices.Equal(old.Attributes, a.Attributes):
			w.Cover.Fault(comesAsOther)
		}
		return true
	case was.Boot != a.bootID():
		w.Cover.Fault(joinsAnew)
		w.Note("%s: the machine was rebooted and is not what it was", a.name)
		k := workload.KeptOf(a.journal)
		a.forgotten()
		a.journal, a.worked = []workload.Record{{Kept: &k}}, a.Setting
		return true
	}
	w.Cover.Fault(mustNotStart)
	w.Note("%s must not start: it is %s, was %s, policy %s", a.name, a.Info(), was.Info, a.policy)
	w.After(w.Between(time.Second, 20*time.Second), func() {
		a.Setting = old
		a.start()
	})
	return false
}

func (a *agent) bootID() string { return fmt.Sprintf("%s-boot-%d", a.name, a.boot) }

// What becomes of agents that leave or are configured anew.
const (
	dismissals    = "an agent that is told that it is gone"
	departures    = "an agent that has left"
	comesWithMore = "an agent that comes back with more resources"
	comesWithLess = "an agent that comes back with less resources"
	comesAsOther  = "an agent that comes back with other attributes"
	joinsAnew     = "an agent that joins anew after a reboot, since it is not what it was"
	mustNotStart  = "an agent that must not start, since it is not what it was"
)

var departing = []fault{
	{"an agent is told to leave", 3, func(w *World) bool {
		a := w.pickAgent()
		a.p.Post(&workload.Leave{})
		return !a.p.Dead
	}},
	{"an agent that is told to leave dies before it has left", 3, func(w *World) bool {
		a := w.pickAgent()
		if a.p.Dead {
			return false
		}
		a.p.Post(&workload.Leave{})
		a.after(w.Between(0, 2*time.Second), func() { a.p.Crash() })
		return true
	}},
	{"an agent says goodbye and keeps its tasks", 2, func(w *World) bool {
		a := w.pickAgent()
		if a.p.Dead || a.link == nil {
			return false
		}
		w.Note("%s says goodbye", a.p.Name)
		a.link.Send(stage.Near, &cluster.AgentLeave{})
		a.p.Crash()
		return true
	}},
	{"an agent's work directory is removed", 1, func(w *World) bool {
		a := w.pickAgent()
		if a.p.Dead {
			return false
		}
		a.emptied = true
		a.p.Crash()
		return true
	}},
	{"an agent is configured anew", 4, func(w *World) bool {
		a := w.pickAgent()
		if a.p.Dead {
			return false
		}
		a.reconfigure()
		a.p.Crash()
		return true
	}},
}
