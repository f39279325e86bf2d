package meter

import (
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// A family says how Prometheus sees the numbers whose flat names match a pattern: by a name and labels that follow its
// conventions (base units, _total for what only grows, one family for what is one thing in several kinds).
type family struct {
	flat   *regexp.Regexp
	name   string   // below "pando_"; ${1} is the pattern's first group
	labels []string // names and values in turns; values may have groups too
	grows  bool     // a gauge by its making, and a counter by its nature
	scale  float64  // from the flat unit to the base unit; 0: as it is
	help   string
}

// ofFramework are labels of what is of one framework. It is full: what is appended to it is a copy.
var ofFramework = []string{"framework", "${1}", "framework_id", "${2}"}

const mebibyte = 1 << 20

// families are looked at in turn; the first that matches holds. Names are those after "slave" was read as "agent" and the
// leading "pando/" was taken off.
var families = append(resources(), []family{
	is(`master/frameworks/([^/]+)/([^/]+)/subscribed`, "framework_subscribed", "1 while the framework is subscribed.", ofFramework...),
	grows(`master/frameworks/([^/]+)/([^/]+)/calls/(\w+)`, "framework_calls", "Calls of each framework, by type.", append(ofFramework, "call", "${3}")...),
	grows(`master/frameworks/([^/]+)/([^/]+)/events/(\w+)`, "framework_events", "Events that each framework was sent, by type.", append(ofFramework, "event", "${3}")...),
	grows(`master/frameworks/([^/]+)/([^/]+)/operations/(\w+)`, "framework_operations", "Operations in the ACCEPTs of each framework, by type.", append(ofFramework, "type", "${3}")...),
	grows(`master/frameworks/([^/]+)/([^/]+)/offers/(\w+)`, "framework_offers", "What became of the offers to each framework.", append(ofFramework, "what", "${3}")...),
	is(`master/frameworks/([^/]+)/([^/]+)/tasks/active/task_(\w+)`, "framework_tasks", "Tasks of each framework that have not ended, by state.", append(ofFramework, "state", "${3}")...),
	grows(`master/frameworks/([^/]+)/([^/]+)/tasks/terminal/task_(\w+)`, "framework_tasks_ended", "Tasks of each framework that ended, by their last state.", append(ofFramework, "state", "${3}")...),
	is(`master/frameworks/([^/]+)/([^/]+)/roles/([^/]+)/suppressed`, "framework_suppressed", "1 while the framework wants no offers in the role.", append(ofFramework, "role", "${3}")...),
	is(`master/frameworks/[^/]+/[^/]+/\w+`, "", ""), // the sums of those
	is(`(master|agent)/tasks_(staging|starting|running|killing|unreachable)`, "${1}_tasks", "Tasks that have not ended, by state.", "state", "${2}"),
	grows(`(master|agent)/tasks_(\w+)`, "${1}_tasks_ended", "Tasks that ended, by their last state.", "state", "${2}"),
	grows(`(master|agent)/task_(\w+)/source_(\w+)/reason_(\w+)`, "${1}_task_ends", "Ends of tasks, by state, who said so, and why.", "state", "${2}", "source", "${3}", "reason", "${4}"),
	is(`master/(agents|frameworks)_(\w+)`, "master_${1}_${2}", "How many there are."),
	grows(`master/agent_(removals)/reason_(\w+)`, "master_agent_removals_by_reason", "Agents that were removed, by why.", "reason", "${2}"),
	grows(`master/agent_(\w+)`, "master_agent_${1}", "What became of agents."),
	grows(`master/messages_(\w+)`, "master_messages", "Messages of schedulers and agents, by kind.", "message", "${1}"),
	grows(`(master|agent)/valid_(\w+)`, "${1}_${2}", "Messages, by whether they were right.", "valid", "true"),
	grows(`(master|agent)/invalid_(\w+)`, "${1}_${2}", "Messages, by whether they were right.", "valid", "false"),
	grows(`master/dropped_messages`, "master_dropped_messages", "Calls and updates that were dropped."),
	is(`master/operations/(\w+)/(pending|recovering|unreachable)`, "master_operations", "Offer operations that have not ended, by type and state.", "type", "${1}", "state", "${2}"),
	is(`master/operations/(\w+)/total`, "master_operations_known", "Offer operations that the master knows of, by type.", "type", "${1}"),
	grows(`master/operations/(\w+)/(\w+)`, "master_operations_ended", "Offer operations that ended, by type and state.", "type", "${1}", "state", "${2}"),
	is(`master/operations/\w+`, "", ""), // the sums of those
	grows(`master/refusals/(.+)`, "master_refusals", "Calls and messages that were refused, by why.", "reason", "${1}"),
	grows(`master/(links|bodies)_refused/(\w+)`, "master_${1}_refused", "What came in and was refused, by why.", "reason", "${2}"),
	grows(`master/(\w*streams|links)_cut_off`, "master_${1}_cut_off", "Streams that were ended because their readers fell behind."),
	grows(`master/log_lines_left_out`, "master_log_lines_left_out", "Lines of the log that were not written because one peer caused too many."),
	grows(`master/scheduler_calls`, "master_scheduler_calls", "Calls of schedulers."),
	grows(`master/http_cache_hits`, "master_http_cache_hits", "Answers to readers that were made once for several of them."),
	is(`master/elected`, "master_elected", "1 while this master leads."),
	is(`master/operator_event_stream_subscribers`, "master_operator_event_stream_subscribers", "Readers of the operator's event stream."),
	is(`master/outstanding_offers`, "master_outstanding_offers", "Offers that nobody has answered."),
	is(`(master|agent)/uptime_secs`, "${1}_uptime_seconds", "For how long this process has run."),
	is(`allocator/mesos/roles/(.+)/shares/dominant`, "allocator_dominant_share", "What part of the cluster a role has of the resource of which it has most.", "role", "${1}"),
	grows(`allocator/mesos/allocation_runs`, "allocator_allocation_runs", "Rounds of offers."),
	is(`allocator/mesos/allocation_run_ms`, "allocator_allocation_run", "How long a round of offers takes."),
	is(`registrar/registry_size_bytes`, "registrar_registry_size_bytes", "What the registry holds."),
	ms(`registrar/state_fetch_ms`, "registrar_state_fetch_seconds", "How long the registry took to read when this master was elected."),
	is(`registrar/state_store_ms`, "registrar_state_store", "How long a save of the registry takes."),
	is(`system/cpus_total`, "system_cpus", "Processors of the machine."),
	is(`system/load_(\d+)min`, "system_load${1}", "The machine's load average over so many minutes."),
	is(`system/mem_free_bytes`, "system_memory_free_bytes", "Memory of the machine that is free."),
	is(`system/mem_total_bytes`, "system_memory_bytes", "Memory of the machine."),
	is(`agent/executors_(\w+)`, "agent_executors", "Executors, by state; the terminated are those that are remembered.", "state", "${1}"),
	is(`agent/frameworks_active`, "agent_frameworks_active", "Frameworks that have something here."),
	is(`agent/registered`, "agent_registered", "1 while a master knows this agent."),
	is(`agent/recovery_time_secs`, "agent_recovery_seconds", "How long it took to find everything again at the start."),
	is(`agent/executor_directory_max_allowed_age_secs`, "agent_executor_directory_max_allowed_age_seconds", "For how long sandboxes of what ended are kept at most, as full as the disk is."),
	grows(`agent/container_launch_errors`, "agent_container_launch_errors", "Containers that could not be started."),
	grows(`containerizer/mesos/container_destroy_errors`, "agent_container_destroy_errors", "Tries to clean up after containers that did not do it."),
	is(`containerizer/fetcher/cache_size_used_bytes`, "agent_fetcher_cache_used_bytes", "What lies in the fetcher's cache."),
	is(`containerizer/fetcher/cache_size_total_bytes`, "agent_fetcher_cache_bytes", "What the fetcher's cache may hold."),
	is(`gc/path_removals_pending`, "agent_sandboxes_of_the_past", "Sandboxes of what ended that are still there."),
	grows(`gc/path_removals_(\w+)`, "agent_sandbox_removals", "Removals of old sandboxes, by outcome.", "outcome", "${1}"),
	grows(`containerizer/fetcher/task_fetches_(\w+)`, "agent_task_fetches", "Fetches of tasks' files, by outcome.", "outcome", "${1}"),
}...)

func is(flat, name, help string, labels ...string) family {
	return family{flat: regexp.MustCompile("^" + flat + "$"), name: name, labels: labels, help: help}
}

func grows(flat, name, help string, labels ...string) family {
	f := is(flat, name+"_total", help, labels...)
	f.grows = true
	return f
}

func ms(flat, name, help string) family {
	f := is(flat, name, help)
	f.scale = 1e-3
	return f
}

// resources are the families of what there is and what is used, of which flat names know memory and disk in MiB.
func resources() (all []family) {
	for _, r := range []struct {
		flat, name, unit string
		scale            float64
	}{
		{"cpus", "cpus", "", 1}, {"gpus", "gpus", "", 1}, {"mem", "memory", "_bytes", mebibyte}, {"disk", "disk", "_bytes", mebibyte},
	} {
		add := func(flat, name, help string, scale float64, labels ...string) {
			f := is(flat, name, help, labels...)
			f.scale = scale
			all = append(all, f)
		}
		for _, v := range []struct{ flat, revocable string }{{"", "false"}, {"_revocable", "true"}} {
			add("(master|agent)/"+r.flat+v.flat+"_total", "${1}_"+r.name+r.unit, "What there is.", r.scale, "revocable", v.revocable)
			add("(master|agent)/"+r.flat+v.flat+"_used", "${1}_"+r.name+"_used"+r.unit, "What tasks and executors hold.", r.scale, "revocable", v.revocable)
			add("(master|agent)/"+r.flat+v.flat+"_percent", "${1}_"+r.name+"_used_ratio", "What part of it they hold, from 0 to 1.", 1, "revocable", v.revocable)
		}
		add("allocator/mesos/resources/"+r.flat+"/total", "allocator_"+r.name+r.unit, "What there is to allocate.", r.scale)
		add("allocator/mesos/resources/"+r.flat+"/offered_or_allocated", "allocator_"+r.name+"_offered_or_allocated"+r.unit, "What is offered or held.", r.scale)
	}
	return all
}

// shown is a flat name as Prometheus sees it.
type shown struct {
	name, help    string // no name: it is not shown
	labels, value []string
	grows         bool
	scale         float64
	known         bool // a family has it
}

// maxNames bounds what a names remembers: some flat names are made of what users chose.
const maxNames = 10_000

// names remembers what flat names become: each is asked for at every look.
type names struct {
	mu    sync.Mutex
	known map[string]*shown
}

func (n *names) show(flat string) *shown {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.known[flat]
	if s == nil {
		if len(n.known) >= maxNames || n.known == nil {
			n.known = map[string]*shown{}
		}
		s = translate(flat)
		n.known[flat] = s
	}
	return s
}

// translate finds the family of a flat name.
func translate(flat string) *shown {
	read := strings.TrimPrefix(flat, "pando/")
	if !strings.HasPrefix(read, "allocator/") { // where names are those of roles
		read = strings.ReplaceAll(read, "slave", "agent")
	}
	for i := range families {
		f := &families[i]
		at := f.flat.FindStringSubmatchIndex(read)
		if at == nil {
			continue
		}
		fill := func(template string) string { return string(f.flat.ExpandString(nil, template, read, at)) }
		s := &shown{help: f.help, grows: f.grows, scale: f.scale, known: true}
		if f.name != "" {
			s.name = clean("pando_" + fill(f.name))
		}
		for j := 0; j < len(f.labels); j += 2 {
			value := fill(f.labels[j+1])
			if plain, err := url.PathUnescape(value); err == nil && strings.HasPrefix(read, "master/frameworks/") {
				value = plain // what people chose is encoded there, so that it has no slashes
			}
			s.labels, s.value = append(s.labels, f.labels[j]), append(s.value, strings.ToValidUTF8(value, "?"))
		}
		return s
	}
	return &shown{name: clean("pando_" + read), help: "A number of this process, by its flat name."}
}

// clean makes a name of what Prometheus takes in names.
func clean(name string) string {
	b := []byte(name)
	for i, c := range b {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			b[i] = '_'
		}
	}
	return string(b)
}
