package workload

import "slices"

// leave ends everything here for good. Nobody is told by this agent: its master tells that the tasks are lost with it, in
// its own name, when the goodbye comes.
func (b *Book) leave(out *Out) {
	if b.leaving {
		return
	}
	b.leaving = true
	out.Tell = append(out.Tell, Fact{Kind: FactLeaving, Text: b.identity.Agent})
	var owners []string
	b.tasks.Scan(func(v *TaskView) bool {
		if n := len(owners); n == 0 || owners[n-1] != v.Task.Framework {
			owners = append(owners, v.Task.Framework)
		}
		return true
	})
	b.shown.Scan(func(v *ExecutorView) bool {
		if !slices.Contains(owners, v.Spec.Framework) {
			owners = append(owners, v.Spec.Framework)
		}
		return true
	})
	for _, id := range owners {
		b.shutdownFramework(id, out)
	}
	b.leaveNested(out)
}

// depart says goodbye over each link, once, when an agent that leaves has nothing more here.
func (b *Book) depart(out *Out) {
	if !b.leaving || !b.recovered || b.tasks.Len() > 0 || len(b.executors) > 0 || b.nested.runs > 0 {
		return
	}
	if b.registered && b.goodbye != b.linkID {
		b.goodbye = b.linkID
		out.Send = append(out.Send, Msg{Link: b.linkID, Unregister: true})
	}
	if !b.left {
		b.left = true
		out.Do = append(out.Do, Work{Left: true})
	}
}
