// Package tally counts of each framework what it asked of its master and what it was told, under the original's names
// (master/frameworks/NAME/ID/…). What never happened is not shown: ten thousand frameworks would show a million zeros.
package tally

import (
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/core/cluster"
)

// Ledger has the counts of the frameworks that live, since this master leads. Its methods may be called from any goroutine.
type Ledger struct {
	frameworks sync.Map // string to *Framework
}

// Framework has the counts of one.
type Framework struct {
	calls      kinds
	events     kinds
	operations kinds
	ended      kinds // tasks, by state
	offers     [offerEnds]atomic.Uint64
}

// kinds counts by the numbers of an enumeration.
type kinds [24]atomic.Uint64

func (k *kinds) count(n int32) {
	if n >= 0 && int(n) < len(k) {
		k[n].Add(1)
	}
}

// What became of offers.
const (
	Sent = iota
	Accepted
	Declined
	Rescinded
	offerEnds
)

// Of gives a framework's counts, from zero when it has none yet.
func (l *Ledger) Of(id string) *Framework {
	if f := l.known(id); f != nil {
		return f
	}
	f, _ := l.frameworks.LoadOrStore(id, &Framework{})
	return f.(*Framework)
}

func (l *Ledger) known(id string) *Framework {
	if f, ok := l.frameworks.Load(id); ok {
		return f.(*Framework)
	}
	return nil
}

// Call counts one that was found to be the framework's, and the operations that it asks for. A nil Framework counts nothing.
func (f *Framework) Call(t scheduler.Call_Type, operations []*mesosv1.Offer_Operation) {
	if f == nil {
		return
	}
	f.calls.count(int32(t))
	for _, o := range operations {
		f.operations.count(int32(o.GetType()))
	}
}

// Event counts one that is sent. A nil Framework counts nothing.
func (f *Framework) Event(t scheduler.Event_Type) {
	if f != nil {
		f.events.count(int32(t))
	}
}

// Tell counts what the book says of frameworks, and forgets those that end.
func (l *Ledger) Tell(f *cluster.Fact) {
	switch f.Kind {
	case cluster.FactFrameworkRemoved:
		l.frameworks.Delete(f.Framework)
	case cluster.FactOffersSent:
		l.offers(f.Framework, Sent, f.N)
	case cluster.FactOffersAccepted:
		l.offers(f.Framework, Accepted, f.N)
	case cluster.FactOffersDeclined:
		l.offers(f.Framework, Declined, f.N)
	case cluster.FactOfferRescinded:
		l.offers(f.Framework, Rescinded, 1)
	case cluster.FactTaskRefused:
		if k := l.known(f.Framework); k != nil {
			k.ended.count(int32(f.Status.State))
		}
	case cluster.FactTaskState:
		if k := l.known(f.Framework); k != nil && cluster.Terminal(f.State) && !cluster.Terminal(f.Was) {
			k.ended.count(int32(f.State))
		}
	}
}

func (l *Ledger) offers(id string, what, n int) {
	if k := l.known(id); k != nil {
		k.offers[what].Add(uint64(n))
	}
}

// Emit gives the counts of the frameworks that live, and what can be read off a view of them.
func (l *Ledger) Emit(v *cluster.View, emit func(name string, value float64)) {
	for f := range v.Frameworks {
		prefix := "master/frameworks/" + encode(f.Spec.Name) + "/" + f.Spec.ID + "/"
		say := func(name string, n uint64) { emit(prefix+name, float64(n)) }
		say("subscribed", one(f.Connected))
		for _, role := range f.Spec.Roles {
			say("roles/"+encode(role)+"/suppressed", one(slices.Contains(f.Suppressed, role)))
		}
		active := map[mesosv1.TaskState]uint64{}
		v.TasksOf(f.Spec.ID, func(t *cluster.Task) bool {
			switch {
			case t.Unreachable:
				active[mesosv1.TaskState_TASK_UNREACHABLE]++
			case !cluster.Terminal(t.State):
				active[t.State]++
			}
			return true
		})
		for state, n := range active { // order: names are sorted when they are shown
			say("tasks/active/"+strings.ToLower(state.String()), n)
		}
		k := l.known(f.Spec.ID)
		if k == nil {
			continue // it is known from its agents, and has not come back
		}
		for what, name := range [offerEnds]string{Sent: "sent", Accepted: "accepted", Declined: "declined", Rescinded: "rescinded"} {
			say("offers/"+name, k.offers[what].Load())
		}
		k.calls.emit("calls", func(n int32) string { return scheduler.Call_Type(n).String() }, say)
		k.events.emit("events", func(n int32) string { return scheduler.Event_Type(n).String() }, say)
		k.operations.emit("operations", func(n int32) string { return mesosv1.Offer_Operation_Type(n).String() }, say)
		k.ended.emit("", func(n int32) string { return mesosv1.TaskState(n).String() }, func(name string, n uint64) {
			say("tasks/terminal"+name, n)
		})
	}
}

// emit gives the counts of each kind, and of all together when they have a name.
func (k *kinds) emit(all string, name func(int32) string, say func(name string, n uint64)) {
	sum := uint64(0)
	for i := range k {
		if n := k[i].Load(); n > 0 {
			say(all+"/"+strings.ToLower(name(int32(i))), n)
			sum += n
		}
	}
	if all != "" {
		say(all, sum)
	}
}

// encode is a name as a part of a path.
func encode(name string) string { return strings.ReplaceAll(url.QueryEscape(name), "+", "%20") }

func one(yes bool) uint64 {
	if yes {
		return 1
	}
	return 0
}
