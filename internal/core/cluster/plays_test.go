package cluster

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	godiff "github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/removal"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

var rewrite = flag.Bool("rewrite", false, "write what the book does into the plays")

// TestPlays drives a book by the scripts in testdata. A story begins with "## "; each line that begins with "> " is an
// input, and below it stands what the book asks for. With -rewrite it is written there, to be read before it is committed.
func TestPlays(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no plays: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, rest, _ := strings.Cut(string(text), "\n## ")
		whole := head
		for story := range strings.SplitSeq(rest, "\n## ") {
			name, script, _ := strings.Cut(story, "\n")
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+name, func(t *testing.T) {
				played := newStage(t).play(script)
				whole += "\n## " + name + "\n" + played
				if d := godiff.Diff(strings.TrimSpace(script), strings.TrimSpace(played)); d != "" && !*rewrite {
					t.Errorf("the book does otherwise (-written +done):\n%s", d)
				}
			})
		}
		if *rewrite {
			if err := os.WriteFile(file, []byte(strings.TrimRight(whole, "\n")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// stage is a book with what its masters saved.
type stage struct {
	t          *testing.T
	book       *Book
	now        time.Duration
	agents     map[string]*AgentRecord
	frameworks map[string]*FrameworkRecord
	masters    int
	specs      map[string]*TaskSpec
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, now: time.Second, agents: map[string]*AgentRecord{}, frameworks: map[string]*FrameworkRecord{}, specs: map[string]*TaskSpec{}}
	s.elect(map[string]string{})
	return s
}

func (s *stage) clock() machine.Now {
	return machine.Now{Mono: s.now, Wall: 1_700_000_000e9 + int64(s.now)}
}

// elect makes the book of a new master from the records.
func (s *stage) elect(arg map[string]string) {
	s.masters++
	cfg := Defaults()
	cfg.MasterID = "M" + strconv.Itoa(s.masters)
	cfg.MaxExecutors = s.number(arg["max_executors"], 0)
	if rate, err := removal.ParseRate(arg["removals"]); err == nil {
		cfg.RemovalRate = rate
	} else {
		s.t.Fatal(err)
	}
	cfg.MaxAgentAge = s.duration(arg["max_age"], cfg.MaxAgentAge)
	cfg.OfferTimeout = s.duration(arg["offer_timeout"], 0)
	cfg.MaxCompletedFrameworks = s.number(arg["completed"], 50)
	if arg["roles"] != "" {
		cfg.Roles = strings.Split(arg["roles"], ",")
	}
	var records []Record
	for _, a := range sortedBy(s.agents) {
		records = append(records, Record{Agent: a})
	}
	for _, f := range sortedBy(s.frameworks) {
		records = append(records, Record{Framework: f})
	}
	s.book = New(cfg, records, s.clock(), rand.New(rand.NewPCG(1, 1)))
}

func sortedBy[V any](m map[string]V) (out []V) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		out = append(out, m[k])
	}
	return out
}

func (s *stage) play(script string) string {
	var out strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "> "):
			out.WriteString(line + "\n")
			for _, l := range s.act(strings.Fields(line[2:])) {
				out.WriteString("  " + l + "\n")
			}
		case strings.HasPrefix(line, "#"):
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

func (s *stage) act(words []string) []string {
	arg := map[string]string{}
	var flags []string
	for _, w := range words[1:] {
		if k, v, ok := strings.Cut(w, "="); ok {
			if arg[k] != "" {
				v = arg[k] + " " + v
			}
			arg[k] = v
		} else {
			flags = append(flags, w)
		}
	}
	switch words[0] {
	case "master":
		s.elect(arg)
		return nil
	case "wait":
		return s.wait(s.duration(flags[0], 0))
	}
	return s.step(s.input(words[0], arg, flags))
}

// wait lets time pass, and wakes the book when it wants.
func (s *stage) wait(d time.Duration) (lines []string) {
	end := s.now + d
	for due := s.book.Deadline(); due != machine.Never && due <= end; due = s.book.Deadline() {
		s.now = max(s.now, due)
		for _, l := range s.step(nil) {
			lines = append(lines, fmt.Sprintf("@%s %s", s.now, l))
		}
	}
	s.now = end
	return lines
}

func (s *stage) step(in In) (lines []string) {
	var out Out
	s.book.Step(s.clock(), in, &out)
	if err := s.book.Audit(); err != nil {
		s.t.Errorf("after %#v: %v", in, err)
	}
	for _, r := range out.Save {
		switch {
		case r.Agent != nil:
			s.agents[r.Agent.Spec.ID] = r.Agent
			lines = append(lines, fmt.Sprintf("save agent %s %s", r.Agent.Spec.ID, []string{"admitted", "unreachable", "gone"}[r.Agent.Mark]))
		case r.Framework != nil:
			s.frameworks[r.Framework.Spec.ID] = r.Framework
			words := "save framework " + r.Framework.Spec.ID
			if r.Framework.Removed != 0 {
				words += " removed"
			}
			lines = append(lines, words)
		case r.ForgetAgent != "":
			delete(s.agents, r.ForgetAgent)
			lines = append(lines, "forget agent "+r.ForgetAgent)
		default:
			delete(s.frameworks, r.Forget)
			lines = append(lines, "forget framework "+r.Forget)
		}
	}
	for _, m := range out.Send {
		to := fmt.Sprintf("conn %d", m.Conn)
		if m.Stream != 0 {
			to = fmt.Sprintf("stream %d", m.Stream)
		}
		if m.Call != 0 {
			to = fmt.Sprintf("call %d", m.Call)
		}
		if _, ok := m.Body.(Ping); ok {
			continue
		}
		lines = append(lines, to+": "+s.say(m.Body))
	}
	for _, f := range out.Tell {
		if f.Kind == FactCallDropped || f.Kind == FactAgentRefused || f.Kind == FactUpdateDropped {
			lines = append(lines, "dropped: "+f.Reason.Text())
		}
		if f.Kind == FactAgentGivenUp && s.book.cfg.RemovalRate.Agents > 0 {
			lines = append(lines, "given up: "+f.Agent+" ("+f.Text+")")
		}
		if f.Kind == FactAgentSpared {
			lines = append(lines, "spared: "+f.Agent)
		}
	}
	return lines
}

func (s *stage) say(body any) string {
	switch b := body.(type) {
	case Subscribed:
		return "SUBSCRIBED " + b.Framework
	case Offers:
		var all []string
		for _, o := range b.Offers {
			words := fmt.Sprintf("%s of %s for %s: %s", o.ID, o.Agent, o.Role, o.Resources)
			if len(o.Executors) > 0 {
				words += " beside " + strings.Join(o.Executors, " ")
			}
			all = append(all, words)
		}
		return "OFFERS " + strings.Join(all, ", ")
	case Rescind:
		return "RESCIND " + b.Offer
	case Update:
		words := fmt.Sprintf("UPDATE %s %s", b.Status.TaskID, b.Status.State)
		if b.Status.HasReason {
			words += " " + b.Status.Reason.String()
		}
		words += " " + b.Status.Source.String()
		if b.Status.AgentID != "" {
			words += " of " + b.Status.AgentID
		}
		if b.Status.UUID != "" {
			words += " uuid " + b.Status.UUID
		}
		if b.Status.Message != "" && b.Status.UUID == "" {
			words += " (" + b.Status.Message + ")"
		}
		return words
	case Failure:
		if b.Executor != "" {
			return fmt.Sprintf("FAILURE of %s on %s status %d", b.Executor, b.Agent, b.Status)
		}
		return "FAILURE of " + b.Agent
	case Error:
		return "ERROR " + b.Message
	case Close:
		return "closes"
	case OperationUpdate, Apply, OperationAck:
		return s.sayOperation(body)
	case Registered:
		words := "registered " + b.Agent
		for _, u := range b.Unknown {
			words += fmt.Sprintf(", unknown %s/%s (aware %t)", u.Framework, u.Task, u.PartitionAware)
		}
		for _, o := range b.UnknownOperations {
			words += ", unknown operation " + cmp.Or(o.ID, "without an id")
		}
		return words
	case Run:
		words := fmt.Sprintf("run %s/%s for %s: %s", b.Framework.ID, b.Task.ID, b.Role, b.Task.Resources)
		if b.Task.Executor != nil {
			words += " in " + b.Task.Executor.ID
		}
		if b.StartsExecutor {
			words += ", which starts"
		}
		return words
	case ExecutorMessage:
		return fmt.Sprintf("MESSAGE of %s on %s: %s", b.Executor, b.Agent, b.Data)
	case SchedulerMessage:
		return fmt.Sprintf("message for %s/%s: %s", b.Framework, b.Executor, b.Data)
	case EndExecutor:
		return "end executor " + b.Framework + "/" + b.Executor
	case KillTask:
		return fmt.Sprintf("kill %s/%s grace %s", b.Framework, b.Task, time.Duration(b.Grace))
	case Ack:
		return fmt.Sprintf("ack %s/%s %s", b.Framework, b.Task, b.UUID)
	case ShutdownFramework:
		return "shut down framework " + b.Framework
	case FrameworkChanged:
		return "framework changed " + b.Framework.ID
	case Resend:
		return "resend " + b.Framework
	case Shutdown:
		return "shut down: " + b.Why
	case Disconnect:
		return "disconnect: " + b.Why
	case Answer:
		return strings.TrimSpace([]string{"done", "invalid", "missing", "conflict"}[b.Kind] + " " + b.Text)
	}
	return fmt.Sprintf("%T %+v", body, body)
}

// input makes one of a line's words.
func (s *stage) input(verb string, arg map[string]string, flags []string) In {
	stream, conn := StreamID(s.number(arg["stream"], 0)), ConnID(s.number(arg["conn"], 0))
	call := CallID(s.number(arg["call"], 0))
	fw := cmp.Or(arg["fw"], "M1-0000")
	list := func(key string) []string { return strings.Fields(strings.ReplaceAll(arg[key], ",", " ")) }
	switch verb {
	case "agent":
		in := &AgentRegister{Conn: conn, Links: uint64(s.number(arg["links"], 0)), Spec: &AgentSpec{
			ID: arg["id"], Info: []byte("info"), Hostname: cmp.Or(arg["host"], "node"), IP: "10.0.0.1", Port: int32(s.number(arg["port"], 0)),
			Total: s.resources(cmp.Or(arg["total"], "cpus:4;mem:1024")),
		}}
		for _, f := range list("framework") {
			in.Frameworks = append(in.Frameworks, &FrameworkSpec{ID: f, Name: f, User: "root", Roles: []string{"*"}, Info: []byte(f)})
		}
		for task := range strings.FieldsSeq(arg["task"]) {
			in.Tasks = append(in.Tasks, s.report(fw, task))
		}
		in.Spec.Capabilities = every
		in.Operations = s.ended(fw, list("operation"))
		for x := range strings.FieldsSeq(arg["executor"]) {
			in.Executors = append(in.Executors, ExecutorReport{Framework: fw, Role: "*", Spec: s.executor(x)})
		}
		return in
	case "closed":
		if stream != 0 {
			return &StreamClosed{Stream: stream}
		}
		return &AgentClosed{Conn: conn}
	case "pong":
		return &AgentPong{Conn: conn}
	case "leave":
		return &AgentLeave{Conn: conn}
	case "update":
		state := s.state(arg["state"])
		st := &mesos.Status{
			TaskID: arg["task"], AgentID: cmp.Or(arg["agent"], "M1-S0"), State: state, UUID: arg["uuid"], Source: mesosv1.TaskStatus_SOURCE_EXECUTOR, Healthy: -1,
		}
		in := &AgentUpdate{Conn: conn, Framework: fw, Status: st, Latest: state}
		if arg["latest"] != "" {
			in.Latest = s.state(arg["latest"])
		}
		return in
	case "subscribe", "change":
		spec := &FrameworkSpec{
			ID: arg["id"], Name: cmp.Or(arg["name"], "f"), User: cmp.Or(arg["user"], "root"), Principal: arg["principal"], Roles: strings.Split(cmp.Or(arg["roles"], "*"), ","),
			FailoverTimeout: s.duration(arg["timeout"], 0), Info: []byte(arg["name"] + arg["roles"]), Caps: Capabilities{PartitionAware: slices.Contains(flags, "aware"), Shared: slices.Contains(flags, "shared"), Refinement: slices.Contains(flags, "refined")},
		}
		sub := Subscribe{Stream: stream, Spec: spec, Suppressed: list("suppressed")}
		if verb == "change" {
			return &UpdateFramework{Call: call, Subscribe: sub}
		}
		return &sub
	case "accept":
		op := Operation{Type: mesosv1.Offer_Operation_LAUNCH, ID: arg["operation"]}
		if arg["type"] != "" {
			op.Type = mesosv1.Offer_Operation_Type(mesosv1.Offer_Operation_Type_value[arg["type"]])
		}
		for task := range strings.FieldsSeq(arg["task"]) {
			id, res, _ := strings.Cut(task, ":")
			spec := &TaskSpec{Executor: s.executor(arg["executor"]), ID: id, Name: id, AgentID: cmp.Or(arg["agent"], "M1-S0"), Resources: s.resources(res), Info: []byte(id), Role: arg["role"], User: "root"}
			if arg["invalid"] != "" {
				spec.Invalid, spec.Reason = arg["invalid"], mesosv1.TaskStatus_REASON_TASK_INVALID
			}
			s.specs[id] = spec
			op.Tasks = append(op.Tasks, spec)
		}
		in := &Accept{Stream: stream, Framework: fw, Offers: list("offers"), Refuse: s.duration(arg["refuse"], -1)}
		for x := range strings.FieldsSeq(arg["op"]) {
			in.Operations = append(in.Operations, s.operation(x))
		}
		if len(op.Tasks) > 0 || op.ID != "" {
			in.Operations = append(in.Operations, op)
		}
		return in
	case "decline":
		return &Decline{Stream: stream, Framework: fw, Offers: list("offers"), Refuse: s.duration(arg["refuse"], -1)}
	case "revive":
		return &Revive{Stream: stream, Framework: fw, Roles: list("roles")}
	case "suppress":
		return &Suppress{Stream: stream, Framework: fw, Roles: list("roles")}
	case "kill":
		return &Kill{Stream: stream, Call: call, Framework: fw, Task: arg["task"], Agent: arg["agent"], Grace: s.duration(arg["grace"], -1)}
	case "ack":
		return &Acknowledge{Stream: stream, Framework: fw, Agent: cmp.Or(arg["agent"], "M1-S0"), Task: arg["task"], UUID: arg["uuid"]}
	case "reconcile":
		in := &Reconcile{Stream: stream, Framework: fw}
		for _, r := range list("task") {
			id, agent, _ := strings.Cut(r, "@")
			in.Tasks = append(in.Tasks, TaskRef{id, agent})
		}
		return in
	case "ended":
		return &AgentExecutorEnd{Conn: conn, Framework: fw, Executor: arg["executor"], Status: int32(s.number(arg["status"], 0))}
	case "end":
		return &ShutdownExecutor{Stream: stream, Framework: fw, Agent: cmp.Or(arg["agent"], "M1-S0"), Executor: arg["executor"]}
	case "message": // of the scheduler, or of the executor when a connection brings it
		if conn != 0 {
			return &AgentMessage{Conn: conn, Framework: fw, Executor: arg["executor"], Data: []byte(arg["data"])}
		}
		return &Message{Stream: stream, Framework: fw, Agent: cmp.Or(arg["agent"], "M1-S0"), Executor: arg["executor"], Data: []byte(arg["data"])}
	case "gone":
		return &MarkAgentGone{Call: call, Agent: arg["agent"]}
	case "operated":
		return &AgentOperationEnd{Conn: conn, End: s.ended(fw, list("operation"))[0]}
	case "ack_operation":
		return &AcknowledgeOperation{Stream: stream, Framework: fw, Agent: arg["agent"], Operation: arg["operation"], UUID: arg["uuid"]}
	case "reconcile_operations":
		in := &ReconcileOperations{Stream: stream, Framework: fw}
		for _, r := range list("operation") {
			id, agent, _ := strings.Cut(r, "@")
			in.Operations = append(in.Operations, OperationRef{id, agent})
		}
		return in
	case "operate":
		return &ChangeResources{Call: call, Agent: cmp.Or(arg["agent"], "M1-S0"), Change: s.operation(arg["op"]).Change}
	case "teardown":
		return &Teardown{Stream: stream, Call: call, Framework: fw}
	}
	s.t.Fatalf("no input is called %q", verb)
	return nil
}

// executor is one of a framework's own: id:resources:role, the last if it is not the offer's.
func (s *stage) executor(text string) *ExecutorSpec {
	if text == "" {
		return nil
	}
	id, rest, _ := strings.Cut(text, ":")
	res, role, _ := strings.Cut(rest, "@")
	return &ExecutorSpec{ID: id, Name: id, Role: role, Resources: s.resources(res), Info: []byte(text)}
}

// report is a task as an agent tells it: id:STATE:uuid:resources; with a launch number the one that its Run had.
func (s *stage) report(fw, text string) TaskReport {
	f := strings.SplitN(text, ":", 4)
	r := TaskReport{Framework: fw, State: s.state(f[1]), UpdateState: s.state(f[1]), UpdateUUID: f[2], Role: "*"}
	if r.Spec = s.specs[f[0]]; r.Spec == nil {
		r.Spec = &TaskSpec{ID: f[0], Name: f[0]}
	}
	if len(f) > 3 {
		spec := *r.Spec
		spec.Resources = s.resources(f[3])
		r.Spec = &spec
	}
	if t := s.book.tasks.Get(FrameworkTask{fw, f[0]}); t != nil {
		r.Launch = t.launch
	}
	if old, ok := strings.CutPrefix(f[2], "old-"); ok { // of an earlier launch
		r.UpdateUUID, r.Launch = old, 1
	}
	return r
}

func (s *stage) state(name string) mesosv1.TaskState {
	n, ok := mesosv1.TaskState_value["TASK_"+name]
	if !ok {
		s.t.Fatalf("no state is called %q", name)
	}
	return mesosv1.TaskState(n)
}

func (s *stage) resources(text string) resource.List {
	var all resource.List
	for part := range strings.SplitSeq(text, "+") {
		all = all.Plus(s.part(part))
	}
	return all
}

func (s *stage) duration(text string, none time.Duration) time.Duration {
	if text == "" {
		return none
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *stage) number(text string, none int) int {
	if text == "" {
		return none
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}
