package master

import (
	"context"
	"log/slog"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/machine"
)

// Send gives messages to the outboxes of those they are for. Whoever is gone by now gets nothing.
func (t *term) Send(messages []cluster.Msg) {
	for i := range messages {
		m := &messages[i]
		switch {
		case m.Conn != 0:
			t.mu.RLock()
			l := t.links[m.Conn]
			t.mu.RUnlock()
			if l != nil {
				l.send(m.Body)
			}
		case m.Stream != 0:
			t.sendStream(m)
		case m.Call != 0:
			t.mu.RLock()
			c := t.calls[m.Call]
			t.mu.RUnlock()
			if c != nil {
				c <- m.Body.(cluster.Answer) // it has room for the one answer that a call gets
			}
		}
	}
}

// sendStream keeps the table of subscribed streams in line with what its scheduler hears: a stream is entered before its
// SUBSCRIBED is sent, so that the first call that answers it finds it.
func (t *term) sendStream(m *cluster.Msg) {
	t.mu.RLock()
	s := t.streams[m.Stream]
	t.mu.RUnlock()
	if s == nil {
		return
	}
	switch b := m.Body.(type) {
	case cluster.Subscribed:
		t.mu.Lock()
		t.byName[b.Framework] = s
		t.mu.Unlock()
	case cluster.Error, cluster.Close:
		t.mu.Lock()
		if f := s.name(); t.byName[f] == s {
			delete(t.byName, f)
		}
		t.mu.Unlock()
	}
	s.send(m.Body)
}

// Do has nothing to do: the book asks for no work.
func (t *term) Do([]cluster.Work) {}

// Tell logs and counts what happened.
func (t *term) Tell(_ machine.Now, facts []cluster.Fact) {
	for i := range facts {
		t.m.counts.count(&facts[i])
		t.tallies.Tell(&facts[i])
		t.m.log(&facts[i])
	}
	t.events.Tell(facts, t.view.Load()) // Show was called before, with the view of this turn
}

// Show publishes the book for readers.
func (t *term) Show(view any) { t.view.Store(view.(*cluster.View)) }

// Lines of a kind and sender, and of a kind, that are logged in a minute.
const (
	warnLines, newsLines = 1, 5
	kindLines            = 200
)

// log writes a fact down. Facts that come by the thousand are for debugging; the others are news to people, unless somebody
// makes them by the thousand.
func (m *Master) log(f *cluster.Fact) {
	kind := f.Kind.String()
	switch f.Kind {
	case cluster.FactOffersSent, cluster.FactOffersAccepted, cluster.FactOffersDeclined, cluster.FactOfferRescinded,
		cluster.FactTaskAcknowledged, cluster.FactAllocated, cluster.FactObserved:
		return
	case cluster.FactTaskLaunched, cluster.FactTaskState, cluster.FactTaskAdopted, cluster.FactTaskKill,
		cluster.FactTaskReturned, cluster.FactTaskReported:
		if !m.deps.Log.Enabled(context.Background(), slog.LevelDebug) {
			return // its arguments would be made for nothing
		}
		m.deps.Log.Debug(kind, "framework", f.Framework, "task", f.Task, "agent", f.Agent, "state", f.State.String())
	case cluster.FactCallDropped:
		m.deps.Log.Debug(kind, "framework", f.Framework, "reason", f.Reason.Text())
	case cluster.FactTaskRefused:
		m.say(slog.LevelInfo, newsLines, kind, f.Framework, "framework", f.Framework, "task", f.Task, "why", f.Text)
	case cluster.FactFrameworkRefused:
		m.warn(kind, f.Reason.Name()+f.Framework, "framework", f.Framework, "reason", f.Reason.Text(), "why", f.Text)
	case cluster.FactUpdateDropped:
		m.warn(kind, f.Reason.Name()+f.Agent, "agent", f.Agent, "framework", f.Framework, "task", f.Task, "reason", f.Reason.Text())
	case cluster.FactAgentUnreachable, cluster.FactAgentRefused:
		m.warn(kind, f.Reason.Name()+f.Agent, "agent", f.Agent, "why", f.Text, "reason", f.Reason.Text())
	default:
		m.say(slog.LevelInfo, newsLines, kind, f.Agent+f.Framework, "agent", f.Agent, "framework", f.Framework, "what", f.Text)
	}
}

// warn logs what somebody did wrong: once a minute for each.
func (m *Master) warn(what, who string, args ...any) {
	m.say(slog.LevelWarn, warnLines, what, who, args...)
}

// say logs a line, unless there were as many of its kind and sender, or of its kind, within the minute.
func (m *Master) say(level slog.Level, lines int, what, who string, args ...any) {
	now := m.deps.Clock.Now().Mono
	unsaid, ok := m.hush.say(now, what+" "+who, lines)
	if ok {
		_, ok = m.hush.say(now, what, kindLines)
	}
	if !ok {
		m.counts.unsaid.Inc()
		return
	}
	if unsaid > 0 {
		args = append(args, "like_this_left_out", unsaid)
	}
	m.deps.Log.Log(context.Background(), level, what, args...)
}
