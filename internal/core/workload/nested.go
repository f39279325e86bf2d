package workload

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Nested is a container that was started by the agent's API: below a task's, an executor's or another of its kind, or
// standing alone.
type Nested struct {
	// Path is its ids from the top down with dots between, as in ChildOf; Container is the runtime's name for it, which the
	// book chooses.
	Path, Container string
	// Parent is the runtime's name for the one that it is directly below; empty: it stands alone.
	Parent string
	// User is whose it is. Framework and Executor are those of the container at the top, and empty where it stands alone.
	User, Framework, Executor string
	// Sandbox is its own; empty for a session, which is in its parent's.
	Sandbox string
	// Session belongs to who launches it, dies with his connection, and is not remembered over a restart.
	Session bool
	// Launch is what else the shell needs to start it, in an encoding of its own. It is not remembered.
	Launch []byte
}

// NestedView is such a container as it is shown. Values are replaced, never changed.
type NestedView struct {
	Spec  *Nested
	PID   uint32
	Ticks uint64
	// Started is when its process began, in nanoseconds since the epoch.
	Started int64
	// Exit is set once it has ended. It is shown until it is removed, the container that it is below ends, or too many
	// others have ended after it.
	Exit *Exit
}

// Inputs about containers of the API.
type (
	// LaunchNested starts one; what comes of it is told by a NestedAnswer of the same call.
	LaunchNested struct {
		Call uint64
		Spec *Nested
	}
	// KillNested ends one, by the runtime's name, with all that is below it.
	KillNested struct{ Container string }
	// RemoveNested forgets one that has ended, with its sandbox; that is told by a NestedAnswer.
	RemoveNested struct {
		Call uint64
		Path string
	}
)

// NestedOutcome is what came of a call.
type NestedOutcome uint8

// Outcomes.
const (
	NestedDone NestedOutcome = iota
	// NestedExists: one of that path is there already, running or ended.
	NestedExists
	// NestedNoParent: what it was to be below does not run.
	NestedNoParent
	// NestedTooMany: as many run as may.
	NestedTooMany
	// NestedFailed: it could not be started.
	NestedFailed
	// NestedRuns: it cannot be removed.
	NestedRuns
)

// NestedAnswer answers a call.
type NestedAnswer struct {
	Call    uint64
	Outcome NestedOutcome
	// Container is the runtime's name of what was launched.
	Container string
	Words     string
}

// NestedEnded is a record: a container has ended, which was not removed.
type NestedEnded struct {
	Path string
	Exit Exit
}

// NestedRemoval is a sandbox to be removed. The call is answered when that is done.
type NestedRemoval struct {
	Call uint64
	Spec *Nested
}

// nested is what the book knows of such a container beside what it shows.
type nested struct {
	view  *NestedView
	calls []uint64 // that wait for its launch
	early *Exit    // an end that was told before the launch was
	kill  bool     // it is to end; a launch that is under way is cancelled
}

// The most containers of the API that may run at a time, and that may have ended and be remembered.
const (
	maxNested      = 1000
	maxNestedEnded = 1000
)

// nestedBook is the part of the book about containers of the API.
type nestedBook struct {
	byPath map[string]*nested
	byName map[string]*nested            // by the runtime's
	below  map[string]map[string]*nested // by the parent's name, then path
	ended  []string                      // paths, oldest first; one that was removed may be among them
	runs   int                           // that have not ended
	shown  []*NestedView                 // by path; nil: to be made anew
}

func newNestedBook() nestedBook {
	return nestedBook{byPath: map[string]*nested{}, byName: map[string]*nested{}, below: map[string]map[string]*nested{}}
}

// stepNested takes an input that is about containers of the API; false: it is not.
func (b *Book) stepNested(in In, out *Out) bool {
	switch in := in.(type) {
	case *LaunchNested:
		b.launchNested(in, out)
	case *KillNested:
		if n := b.nested.byName[in.Container]; n != nil {
			b.killNested(n, out)
		}
	case *RemoveNested:
		b.removeNested(in, out)
	default:
		return false
	}
	return true
}

func answerNested(a NestedAnswer, out *Out) { out.Send = append(out.Send, Msg{Nested: &a}) }

// launchNested takes one on. From the record on it is known, whatever becomes of this process.
func (b *Book) launchNested(in *LaunchNested, out *Out) {
	refuse := func(o NestedOutcome, words string) {
		answerNested(NestedAnswer{Call: in.Call, Outcome: o, Words: words}, out)
	}
	old := b.nested.byPath[in.Spec.Path]
	_, task := b.containers[in.Spec.Path]
	_, box := b.boxes[in.Spec.Path]
	switch {
	case b.leaving || !b.recovered:
		refuse(NestedFailed, "The agent is leaving, or has not found its containers yet.")
		return
	case old != nil || task || box:
		refuse(NestedExists, "")
		return
	case in.Spec.Parent != "" && !b.lives(in.Spec.Parent):
		refuse(NestedNoParent, "The container that it was to be below is not running.")
		return
	case b.nested.runs >= maxNested:
		refuse(NestedTooMany, fmt.Sprintf("%d containers that were started by the API run on this agent, and no more may; end some.", maxNested))
		return
	}
	spec := *in.Spec
	spec.Container = b.containerID()
	n := b.admitNested(&spec)
	n.calls = []uint64{in.Call}
	if !spec.Session {
		out.Save = append(out.Save, Record{NestedAccepted: &spec})
	}
	b.tellNested(FactNestedAccepted, n, out)
	out.Do = append(out.Do, Work{LaunchNested: &spec})
}

// lives says whether a container, by the runtime's name, runs and is not known to end.
func (b *Book) lives(container string) bool {
	if ref, ok := b.containers[container]; ok {
		v, _ := b.find(ref)
		return v != nil && v.PID != 0 && !v.Ended
	}
	if ref, ok := b.boxes[container]; ok {
		x := b.executors[ref]
		return x != nil && x.view.PID != 0
	}
	n := b.nested.byName[container]
	return n != nil && n.view.PID != 0 && n.view.Exit == nil && !n.kill
}

// admitNested books one.
func (b *Book) admitNested(s *Nested) *nested {
	n := &nested{view: &NestedView{Spec: s}}
	k := &b.nested
	k.byPath[s.Path], k.byName[s.Container] = n, n
	if s.Parent != "" {
		if k.below[s.Parent] == nil {
			k.below[s.Parent] = map[string]*nested{}
		}
		k.below[s.Parent][s.Path] = n
	}
	k.runs++
	k.shown = nil
	return n
}

// changeNested replaces what is shown of one.
func (b *Book) changeNested(n *nested, how func(*NestedView)) {
	v := *n.view
	how(&v)
	n.view, b.nested.shown = &v, nil
}

// nestedLaunched takes the end of a launch.
func (b *Book) nestedLaunched(n *nested, in *Launched, out *Out) {
	if n.view.PID != 0 || n.view.Exit != nil {
		return
	}
	a := NestedAnswer{Container: n.view.Spec.Container, Words: in.Words}
	if in.Failure != LaunchOK {
		a.Outcome = NestedFailed
		a.Words = cmp.Or(a.Words, "It was ended before it had started.")
		b.answerAll(n, a, out)
		b.dropNested(n, out)
		return
	}
	b.nestedStarted(n, in.PID, in.Ticks, b.now.Wall, out)
	b.changeNested(n, func(v *NestedView) { // it has started: the rest is only long
		s := *v.Spec
		s.Launch, v.Spec = nil, &s
	})
	b.answerAll(n, a, out)
	switch {
	case n.early != nil:
		b.nestedExited(n, *n.early, out)
	case n.kill:
		out.Do = append(out.Do, Work{Kill: &KillWork{n.view.Spec.Container, 0}})
	}
}

func (b *Book) answerAll(n *nested, a NestedAnswer, out *Out) {
	for _, call := range n.calls {
		a.Call = call
		answerNested(a, out)
	}
	n.calls = nil
}

func (b *Book) nestedStarted(n *nested, pid uint32, ticks uint64, wall int64, out *Out) {
	b.changeNested(n, func(v *NestedView) { v.PID, v.Ticks, v.Started = pid, ticks, wall })
	b.tellNested(FactNestedStarted, n, out)
}

// nestedExited takes the end of one. It is remembered for those who ask for it; what was below it has ended before.
func (b *Book) nestedExited(n *nested, e Exit, out *Out) {
	switch {
	case n.view.Exit != nil:
		out.Do = append(out.Do, Work{Forget: n.view.Spec.Container}) // it is told twice
		return
	case n.view.PID == 0:
		n.early = &e // its Launched is under way
		return
	}
	b.endNested(n, e, out)
	out.Do = append(out.Do, Work{Forget: n.view.Spec.Container})
	b.forgetBelow(n.view.Spec.Container, out)
	for k := &b.nested; len(k.ended) > maxNestedEnded; {
		oldest := k.byPath[k.ended[0]]
		k.ended = k.ended[1:]
		if oldest != nil && oldest.view.Exit != nil {
			b.dropNested(oldest, out)
		}
	}
}

// endNested books an end and tells those who wait for it.
func (b *Book) endNested(n *nested, e Exit, out *Out) {
	b.changeNested(n, func(v *NestedView) { v.Exit = &e })
	b.nested.runs--
	b.nested.ended = append(b.nested.ended, n.view.Spec.Path)
	if !n.view.Spec.Session {
		out.Save = append(out.Save, Record{NestedEnded: &NestedEnded{n.view.Spec.Path, e}})
	}
	b.tellNested(FactNestedEnded, n, out)
	out.Do = append(out.Do, Work{NestedEnded: n.view})
}

// forgetBelow forgets what is directly or indirectly below a container that has ended.
func (b *Book) forgetBelow(container string, out *Out) {
	below := b.nested.below[container]
	for _, path := range slices.Sorted(maps.Keys(below)) { // order: sorted
		n := below[path]
		if n.view.Exit == nil { // its own end was not told, or comes late
			b.answerAll(n, NestedAnswer{Outcome: NestedNoParent, Words: "The container that it was to be below has ended."}, out)
			b.endNested(n, Exit{}, out)
		}
		b.dropNested(n, out)
	}
}

// killNested ends one, or its launch.
func (b *Book) killNested(n *nested, out *Out) {
	switch {
	case n.view.Exit != nil:
		return
	case n.view.PID == 0:
		out.Do = append(out.Do, Work{Cancel: n.view.Spec.Container})
	default:
		out.Do = append(out.Do, Work{Kill: &KillWork{n.view.Spec.Container, 0}})
	}
	n.kill = true
}

func (b *Book) removeNested(in *RemoveNested, out *Out) {
	n := b.nested.byPath[in.Path]
	a := NestedAnswer{Call: in.Call}
	switch {
	case n == nil: // what is not there needs no removal
	case n.view.Exit == nil:
		a.Outcome, a.Words = NestedRuns, "The container still runs; kill it and wait for its end before removing it."
	default:
		b.dropNested(n, out)
		out.Do = append(out.Do, Work{RemoveNested: &NestedRemoval{in.Call, n.view.Spec}}) // which answers
		return
	}
	answerNested(a, out)
}

// dropNested forgets one.
func (b *Book) dropNested(n *nested, out *Out) {
	b.forgetBelow(n.view.Spec.Container, out)
	b.deleteNested(n)
	if !n.view.Spec.Session {
		out.Save = append(out.Save, Record{NestedGone: n.view.Spec.Path})
	}
}

func (b *Book) deleteNested(n *nested) {
	s, k := n.view.Spec, &b.nested
	if k.byPath[s.Path] != n {
		return
	}
	delete(k.byPath, s.Path)
	delete(k.byName, s.Container)
	delete(k.below[s.Parent], s.Path)
	if len(k.below[s.Parent]) == 0 {
		delete(k.below, s.Parent)
	}
	if n.view.Exit == nil {
		k.runs--
	}
	if n.view.Exit != nil { // or an id that is used again and again would fill the list
		k.ended = slices.DeleteFunc(k.ended, func(p string) bool { return p == s.Path })
	}
	k.shown = nil
}

// recoverNested brings what the journal has and what was found into line, once the tasks and executors are.
func (b *Book) recoverNested(found map[string]*Found, out *Out) {
	for _, v := range b.nestedViews() { // those above come before those below
		n, f := b.nested.byPath[v.Spec.Path], found[v.Spec.Container]
		switch {
		case n == nil, n.view.Exit != nil: // it was forgotten with the one that it was below, or its end is known
			if f != nil {
				b.discard(f, out)
			}
		case v.Spec.Parent != "" && !b.lives(v.Spec.Parent):
			b.dropNested(n, out)
			if f != nil {
				b.discard(f, out)
			}
		case f == nil: // nothing recorded how it ended, if it ever began
			b.endNested(n, Exit{}, out)
			b.forgetBelow(v.Spec.Container, out)
		default:
			b.nestedStarted(n, f.PID, f.Ticks, f.Wall, out)
			if f.Exit != nil {
				b.nestedExited(n, *f.Exit, out)
			}
		}
	}
}

// leaveNested ends those that stand alone; the others end with what they are below.
func (b *Book) leaveNested(out *Out) {
	for _, v := range b.nestedViews() {
		if v.Spec.Parent == "" {
			b.killNested(b.nested.byPath[v.Spec.Path], out)
		}
	}
}

// replayNested applies a record about containers of the API; false: it is not about one.
func (b *Book) replayNested(r *Record) bool {
	k := &b.nested
	switch {
	case r.NestedAccepted != nil:
		b.admitNested(r.NestedAccepted)
	case r.NestedEnded != nil:
		if n := k.byPath[r.NestedEnded.Path]; n != nil && n.view.Exit == nil {
			e := r.NestedEnded.Exit
			b.changeNested(n, func(v *NestedView) { v.Exit = &e })
			k.runs--
			k.ended = append(k.ended, r.NestedEnded.Path)
		}
	case r.NestedGone != "":
		if n := k.byPath[r.NestedGone]; n != nil {
			b.deleteNested(n)
		}
	default:
		return false
	}
	return true
}

// nestedJournal appends the records from which they would be made again.
func (b *Book) nestedJournal(out []Record) []Record {
	for _, v := range b.nestedViews() {
		if !v.Spec.Session {
			out = append(out, Record{NestedAccepted: v.Spec})
		}
	}
	for _, path := range b.nested.ended { // in the order in which they are forgotten
		if n := b.nested.byPath[path]; n != nil && !n.view.Spec.Session {
			out = append(out, Record{NestedEnded: &NestedEnded{path, *n.view.Exit}})
		}
	}
	return out
}

// nestedViews lists them by path; what is above another comes before it.
func (b *Book) nestedViews() []*NestedView {
	k := &b.nested
	if k.shown == nil && len(k.byPath) > 0 {
		k.shown = make([]*NestedView, 0, len(k.byPath))
		for _, n := range k.byPath { // order: sorted below
			k.shown = append(k.shown, n.view)
		}
		slices.SortFunc(k.shown, func(a, b *NestedView) int { return strings.Compare(a.Spec.Path, b.Spec.Path) })
	}
	return k.shown
}

func (b *Book) tellNested(kind FactKind, n *nested, out *Out) {
	out.Tell = append(out.Tell, Fact{Kind: kind, Framework: n.view.Spec.Framework, Container: n.view.Spec.Container, PID: n.view.PID, Text: n.view.Spec.Path})
}

// FindNested finds one by its path; nil: it is not there.
func (v *View) FindNested(path string) *NestedView {
	i, ok := slices.BinarySearchFunc(v.Nested, path, func(n *NestedView, path string) int { return strings.Compare(n.Spec.Path, path) })
	if !ok {
		return nil
	}
	return v.Nested[i]
}
