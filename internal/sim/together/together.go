// Package together knows which tasks of a simulated cluster were launched as a group, and sees that each group runs whole or
// not at all.
package together

import (
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/rule"
)

// Ledger is that of one cluster. It names tasks by keys that no other launch has.
type Ledger struct {
	fail   func(rule, format string, args ...any)
	groups map[string]*group // by the keys of their tasks
}

type group struct {
	keys     []string
	pooled   bool            // the default executor runs it
	admitted map[string]bool // tasks that are in their agent's journal to be run
	started  string          // a task that ran
	refused  string          // a task that will never run
	failed   string          // a task that did not end well
}

// New makes the ledger of a cluster. What it finds wrong it tells fail, which takes the name of a rule first.
func New(fail func(rule, format string, args ...any)) *Ledger {
	return &Ledger{fail: fail, groups: map[string]*group{}}
}

// Asked says that a framework asks for tasks together, in the default executor or in one of its own.
func (l *Ledger) Asked(pooled bool, keys []string) {
	g := &group{keys: keys, pooled: pooled, admitted: map[string]bool{}}
	for _, key := range keys {
		l.groups[key] = g
	}
}

// Admitted says that an agent's journal has a task as one that is to run.
func (l *Ledger) Admitted(key string) {
	if g := l.groups[key]; g != nil {
		g.admitted[key] = true
	}
}

// Refused says that a task is never going to run: a master or an agent found it wrong.
func (l *Ledger) Refused(key string) {
	g := l.groups[key]
	if g == nil {
		return
	}
	g.refused = key
	l.look(g)
}

// Started says that a task runs. By then its agent has taken the whole group on, or a crash could leave it with a part.
func (l *Ledger) Started(key string) {
	g := l.groups[key]
	if g == nil {
		return
	}
	g.started = key
	l.look(g)
	for _, other := range g.keys {
		if !g.admitted[other] {
			l.fail(rule.Whole, "%s runs, and %s of its group is not in the journal of their agent", key, other)
		}
	}
}

func (l *Ledger) look(g *group) {
	if g.started != "" && g.refused != "" {
		l.fail(rule.Whole, "%s runs, and %s of its group was refused", g.started, g.refused)
	}
}

// Ended says that an agent's journal has a task's end.
func (l *Ledger) Ended(key string, s mesosv1.TaskState) {
	if g := l.groups[key]; g != nil && cluster.Terminal(s) && s != mesosv1.TaskState_TASK_FINISHED {
		g.failed = key
	}
}

// Doomed names a task that did not end well and takes those of its group along; empty when there is none, and when the
// framework's own executor decides.
func (l *Ledger) Doomed(key string) string {
	if g := l.groups[key]; g != nil && g.pooled {
		return g.failed
	}
	return ""
}
