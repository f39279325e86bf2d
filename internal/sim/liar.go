package sim

import (
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/lie"
	"github.com/pando-os/pando/internal/sim/stage"
)

// liar is an agent that keeps to no rule: it registers again and again, with other resources each time and with tasks that
// nobody launched, and tells states of tasks that are not there or not its own, in any order. It is none of World.agents, so
// nothing is promised of it; what is promised of the others must hold beside it. It does not say that it runs a task that
// lives elsewhere: a new master, which knows of tasks by their agents alone, would have to believe it. It goes when faults
// stop: the operator marks its agents gone.
type liar struct {
	w     *World
	c     *stage.Conn
	ready bool // it was welcomed
	ask   *master
	tale  lie.Liar
}

func (w *World) newLiar() {
	l := &liar{w: w, tale: lie.Liar{Stage: w.Stage, Truth: truth{w}}}
	w.After(w.Between(time.Second, 30*time.Second), l.tick)
}

func (l *liar) tick() {
	w := l.w
	if w.Calm {
		if l.c != nil {
			l.c.Close()
		}
		return
	}
	w.After(w.Between(20*time.Millisecond, 3*time.Second), l.tick)
	switch {
	case l.c == nil:
		l.dial(w.pickMaster())
	case l.ready:
		for range 1 + w.Rand.IntN(4) {
			w.Cover.Fault(lies)
			l.c.Send(stage.Near, l.tale.Nonsense())
		}
	}
}

func (l *liar) dial(m *master) {
	c := l.w.Connect(lie.Name, m.name)
	l.c, l.ready = c, false
	e := &c.Ends[stage.Near]
	e.Recv = l.take
	e.Closed = func() {
		to := l.ask
		l.c, l.ask = nil, nil
		if to != nil && !l.w.Calm {
			l.dial(to)
		}
	}
	l.w.dial(c, m, hello{})
}

func (l *liar) take(message any) {
	switch m := message.(type) {
	case redirect:
		l.ask = m.to
	case welcome:
		l.ready = true
	case cluster.Registered:
		l.tale.ID = m.Agent
	case cluster.Run:
		l.tale.Sent(m)
	case cluster.Ping:
		l.c.Send(stage.Near, &cluster.AgentPong{})
	}
}

// truth is what liars know of a world.
type truth struct{ w *World }

func (t truth) Agent() string     { return t.w.anyAgent() }
func (t truth) Framework() string { return t.w.pickFramework().id }

func (t truth) Task() (framework, task string) {
	f := t.w.pickFramework()
	if len(f.insts) == 0 {
		return "", ""
	}
	i := f.insts[t.w.Rand.IntN(len(f.insts))]
	return i.owner, i.id
}
