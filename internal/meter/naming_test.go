package meter

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFlatNamesBecomeNamesOfPrometheusKind(t *testing.T) {
	for flat, want := range map[string]shown{
		"master/tasks_running":                                 {name: "pando_master_tasks", labels: []string{"state"}, value: []string{"running"}},
		"slave/tasks_finished":                                 {name: "pando_agent_tasks_ended_total", labels: []string{"state"}, value: []string{"finished"}, grows: true},
		"master/task_lost/source_slave/reason_slave_restarted": {name: "pando_master_task_ends_total", labels: []string{"state", "source", "reason"}, value: []string{"lost", "agent", "agent_restarted"}, grows: true},
		"master/mem_total":                                     {name: "pando_master_memory_bytes", labels: []string{"revocable"}, value: []string{"false"}, scale: mebibyte},
		"slave/cpus_revocable_used":                            {name: "pando_agent_cpus_used", labels: []string{"revocable"}, value: []string{"true"}, scale: 1},
		"master/slaves_active":                                 {name: "pando_master_agents_active"},
		"master/valid_status_updates":                          {name: "pando_master_status_updates_total", labels: []string{"valid"}, value: []string{"true"}, grows: true},
		"master/operations/reserve/pending":                    {name: "pando_master_operations", labels: []string{"type", "state"}, value: []string{"reserve", "pending"}},
		"master/operations/reserve/finished":                   {name: "pando_master_operations_ended_total", labels: []string{"type", "state"}, value: []string{"reserve", "finished"}, grows: true},
		"master/operations/finished":                           {},
		"pando/master/refusals/agent/gone":                     {name: "pando_master_refusals_total", labels: []string{"reason"}, value: []string{"agent/gone"}, grows: true},
		"master/frameworks/a%20b%2Fc/M-0000/calls/accept":      {name: "pando_framework_calls_total", labels: []string{"framework", "framework_id", "call"}, value: []string{"a b/c", "M-0000", "accept"}, grows: true},
		"master/frameworks/a/M-0000/calls":                     {},
		"registrar/state_fetch_ms":                             {name: "pando_registrar_state_fetch_seconds", scale: 1e-3},
		"allocator/mesos/roles/slave/shares/dominant":          {name: "pando_allocator_dominant_share", labels: []string{"role"}, value: []string{"slave"}},
	} {
		got := *translate(flat)
		if !got.known {
			t.Errorf("%s belongs to no family", flat)
		}
		got.known, got.help = false, ""
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(shown{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", flat, diff)
		}
	}
	if got := translate("what/nobody knows"); got.known || got.name != "pando_what_nobody_knows" {
		t.Errorf("an unknown name becomes %+v", got)
	}
}

func TestWhatIsRememberedOfNamesIsBounded(t *testing.T) {
	var n names
	for i := range 3 * maxNames {
		n.show(string(rune('a'+i%26)) + string(rune(i)))
	}
	if len(n.known) > maxNames {
		t.Errorf("%d names are remembered", len(n.known))
	}
}

func TestZerosAreShownToReadersOfFlatNumbersAlone(t *testing.T) {
	m := newMeter(t)
	m.Zeros("master/event_queue_messages")
	if v, ok := m.Snapshot()["master/event_queue_messages"]; !ok || v != 0 {
		t.Errorf("%v, %v", v, ok)
	}
	families, err := m.registry.Gather()
	if err != nil || len(families) != 0 {
		t.Errorf("%v, %v", families, err)
	}
}
