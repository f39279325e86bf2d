package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// talkBurst and talkRate (a second) bound what an agent may send that the book does not wait for; one with many tasks may
	// send each of their updates again. An update that is dropped is sent again, since nobody acknowledges it.
	talkBurst, talkRate = 1000, 100
	// messageCost is how many bytes of an executor's message count as much as one update.
	messageCost = 4096
	// evictAtOnce is how many agents are forgotten together when there is no room for one more.
	evictAtOnce = 100
	// maxFormer is of how many removed agents the state is kept.
	maxFormer = 10_000
	// lookAtAges is how often agents are looked for that were away for too long.
	lookAtAges = 15 * time.Minute
	// aliveMisses is how many pings a connected agent may have missed and still count as the owner of its id.
	aliveMisses = 1
	// keptChanges, keptWords and keptRest bound what is kept of a task's past: changes of state, and the bytes of each.
	keptChanges, keptWords, keptRest = 64, 4 << 10, 64 << 10
	// keptInfo is how long the description of a task that runs may be and be kept whole, and keptPast that of one that has
	// ended.
	keptInfo, keptPast = 16 << 10, 64 << 10
	// briefly bounds what an update quotes of a task's or an offer's resources.
	briefly = 300
)

// allowance is a bucket of tokens that fills with time. The zero allowance is full.
type allowance struct {
	used int           // of the burst, as of at
	at   time.Duration // Mono time
}

// take takes n tokens out; it reports whether they were there.
func (a *allowance) take(now time.Duration, n, burst, rate int) bool {
	if back := int(min(now-a.at, time.Hour) * time.Duration(rate) / time.Second); back > 0 {
		a.used, a.at = max(0, a.used-back), now
	}
	if a.used+n > burst {
		return false
	}
	if a.used == 0 {
		a.at = now
	}
	a.used += n
	return true
}

// mayTalk says whether an agent may send so much more of what nobody waits for.
func (b *Book) mayTalk(s *agentState, n int) bool {
	return s.talk.take(b.now.Mono, n, max(talkBurst, 4*len(s.tasks)), max(talkRate, len(s.tasks)))
}

// expected says whether the next update of a task that runs on an agent is due: nothing before it is unacknowledged. An
// honest agent sends one at a time, so there are no more of these than acknowledgements.
func expected(t *Task) bool { return t != nil && t.UpdateUUID == "" }

// elsewhere says whether somebody else than the owner of an agent's id registers under it: the owner is connected, answers
// pings, and has another address. The copy of a machine does that. An owner whose address changed while his old connection
// still looks open is let in when he has missed pings.
func (b *Book) elsewhere(conn ConnID, old *Agent, spec *AgentSpec) bool {
	s := b.states[spec.ID]
	return old != nil && s != nil && s.conn != 0 && s.conn != conn && s.missed <= aliveMisses && addressOf(old.Spec) != addressOf(spec)
}

func (b *Book) refuseAgent(in *AgentRegister, why Reason, out *Out) {
	text := fmt.Sprintf("%s (%s:%d)", in.Spec.Hostname, in.Spec.IP, in.Spec.Port)
	out.Tell = append(out.Tell, Fact{Kind: FactAgentRefused, Agent: in.Spec.ID, Reason: why, Text: text})
	out.Send = append(out.Send, Msg{Conn: in.Conn, Body: Disconnect{why.Text()}})
}

// roomForAgent says whether one more agent may be known. It forgets those that were unreachable or gone for longest to make
// room, as the original's registry does.
func (b *Book) roomForAgent(out *Out) bool {
	if b.cfg.MaxAgents <= 0 || b.agents.Len() < b.cfg.MaxAgents {
		return true
	}
	var away []*Agent
	b.agents.Ordered().Scan(func(a *Agent) bool {
		if a.Mark != Admitted {
			away = append(away, a)
		}
		return true
	})
	// A mark of gone is somebody's word that must hold, so the others go first.
	slices.SortStableFunc(away, func(x, y *Agent) int {
		return cmp.Or(cmp.Compare(x.Mark, y.Mark), cmp.Compare(x.Since, y.Since))
	})
	for _, a := range away[:min(len(away), evictAtOnce)] {
		b.removeAgent(a, "there are too many agents, and it was away for longest", out)
	}
	return b.agents.Len() < b.cfg.MaxAgents
}

// forgetOld forgets the agents that were unreachable for too long.
func (b *Book) forgetOld(out *Out) {
	b.forgetAt = b.now.Mono + lookAtAges
	var old []*Agent
	b.agents.Ordered().Scan(func(a *Agent) bool {
		if a.Mark == Unreachable && a.Since+int64(b.cfg.MaxAgentAge) <= b.now.Wall {
			old = append(old, a)
		}
		return true
	})
	for _, a := range old {
		b.removeAgent(a, "it was unreachable for too long", out)
	}
}

// former is an agent that was removed.
type former struct {
	id      string
	address address
}

// wasHere notes that an agent was removed, and drops the state of the one that was so for longest, if that did not come back.
func (b *Book) wasHere(a *Agent) {
	b.former.push(former{a.Spec.ID, addressOf(a.Spec)})
	for b.former.len() > maxFormer {
		f, _ := b.former.first()
		b.former.pop()
		if b.agents.Get(f.id) != nil {
			continue
		}
		delete(b.states, f.id)
		if b.addresses[f.address] == f.id {
			delete(b.addresses, f.address)
		}
	}
}

// crowded says why one more framework of a user may not live; empty when it may.
func (b *Book) crowded(spec *FrameworkSpec) string {
	if b.cfg.MaxFrameworks > 0 && b.frameworks.Len() >= b.cfg.MaxFrameworks {
		return fmt.Sprintf("there are %d frameworks already, and no more may be (--max-frameworks); tear down one that is not needed", b.frameworks.Len())
	}
	if b.cfg.MaxFrameworksPerUser <= 0 {
		return ""
	}
	n := 0
	b.frameworks.Ordered().Scan(func(f *Framework) bool {
		if f.Spec.User == spec.User {
			n++
		}
		return true
	})
	if n < b.cfg.MaxFrameworksPerUser {
		return ""
	}
	return fmt.Sprintf("user %q has %d frameworks already, and no more may be (--max-frameworks-per-user); tear down one that is not needed", spec.User, n)
}

// brief shortens what would make each of thousands of updates long.
func brief(s string) string {
	if len(s) <= briefly {
		return s
	}
	return strings.ToValidUTF8(s[:briefly], "") + "…"
}

// Numbers of TaskInfo's fields: what comes before resources names the task.
const (
	taskResources protowire.Number = 4
	taskData      protowire.Number = 6
)

// remembered is what is kept of a task once it was sent: not its secrets, nor its data, which is for its executor and may be large.
func remembered(t *TaskSpec) *TaskSpec {
	if len(t.Info) <= keptInfo && t.Executor == nil && t.Whole == nil {
		return t
	}
	s := *t
	s.Whole = nil
	s.Executor = nil // the book has it once for all its tasks
	if len(t.Info) <= keptInfo {
		return &s
	}
	s.Info = keepFields(t.Info, func(n protowire.Number) bool { return n != taskData })
	return &s
}

// past is what is kept of a task that has ended: of a long description what names the task and what it held.
func (t *TaskSpec) past() *TaskSpec {
	if len(t.Info) <= keptPast {
		return t
	}
	s := *t
	s.Info = keepFields(t.Info, func(n protowire.Number) bool { return n <= taskResources })
	if len(s.Info) > keptPast {
		s.Info = keepFields(s.Info, func(n protowire.Number) bool { return n < taskResources })
	}
	return &s
}

// keepFields copies the wanted fields of an encoded message; what is malformed ends it.
func keepFields(b []byte, want func(protowire.Number) bool) []byte {
	var out []byte
	for len(b) > 0 {
		number, _, n := protowire.ConsumeField(b)
		if n < 0 {
			break
		}
		if want(number) {
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	return slices.Clip(out)
}
