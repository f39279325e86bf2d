package mesos

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/mesos/resource"
)

const someAmount = `{"name":"cpus","type":"SCALAR","scalar":{"value":0.1},"allocation_info":{"role":"probe"}},{"name":"mem","type":"SCALAR","scalar":{"value":32},"allocation_info":{"role":"probe"}}`

// taskWith is a good task but for the members in change; a change to null takes the member away.
func taskWith(tb testing.TB, change string) *mesosv1.TaskInfo {
	tb.Helper()
	task := map[string]json.RawMessage{"name": []byte(`"x"`), "task_id": []byte(`{"value":"x"}`), "agent_id": []byte(`{"value":"a"}`), "resources": []byte("[" + someAmount + "]"), "command": []byte(`{"value":"true"}`)}
	var more map[string]json.RawMessage
	if err := json.Unmarshal([]byte("{"+change+"}"), &more); err != nil {
		tb.Fatalf("%s: %v", change, err)
	}
	maps.Copy(task, more)
	text, err := json.Marshal(task)
	if err != nil {
		tb.Fatal(err)
	}
	return read[mesosv1.TaskInfo](tb, string(text))
}

var launch = Launch{AgentID: "a", FrameworkID: "f", Role: "probe"}

func TestTasksAreRefusedAsTheOriginalDoes(t *testing.T) {
	answers := recorded(t, "refused_tasks.json")
	for step, c := range map[string]struct{ change, field string }{
		"a/b": {`"task_id":{"value":"a/b"}`, "task_id"}, "empty id": {`"task_id":{"value":""}`, "task_id"}, "..": {`"task_id":{"value":".."}`, "task_id"}, "space d": {`"task_id":{"value":"space d"}`, ""},
		"no-resources": {`"resources":[]`, "resources"}, "zero": {`"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0}}]`, ""},
		"negative": {`"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":-1}}]`, "resources[0]"}, "neither": {`"command":null`, "command"},
		"grace": {`"kill_policy":{"grace_period":{"nanoseconds":-1}}`, "kill_policy.grace_period"}, "completion": {`"max_completion_time":{"nanoseconds":-1}`, "max_completion_time"},
		"health": {`"health_check":{"type":"HTTP"}`, "health_check.http"}, "check": {`"check":{"type":"COMMAND"}`, "check.command"}, "check-unknown": {`"check":{}`, "check.type"},
		"env":       {`"command":{"value":"true","environment":{"variables":[{"name":"X","type":"SECRET"}]}}`, "command.environment.variables[0]"},
		"env2":      {`"command":{"value":"true","environment":{"variables":[{"name":"X"}]}}`, "command.environment.variables[0]"},
		"volume":    {`"container":{"type":"MESOS","volumes":[{"mode":"RW","container_path":"x"}]}`, "container.volumes[0]"},
		"docker":    {`"container":{"type":"DOCKER"}`, "container.docker"},
		"revocable": {`"resources":[` + someAmount + `,{"name":"cpus","type":"SCALAR","scalar":{"value":0.1},"revocable":{}}]`, `resources ("cpus")`},
		"limit-low": {`"limits":{"cpus":{"value":0.01}}`, "limits.cpus"}, "limit-unasked": {`"limits":{"disk":{"value":10}}`, "limits.disk"},
		"unallocated": {`"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}}]`, ""},
		"wrong-role":  {`"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1},"allocation_info":{"role":"other"}}]`, "resources"},
		"wrong-agent": {`"agent_id":{"value":"elsewhere"}`, "agent_id"},
		// What the offer does not hold is for the caller to see.
		"too-much": {`"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":9999}}]`, ""}, "ports": {`"resources":[{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":2}]}}]`, ""},
	} {
		saw, _ := answers[step].(map[string]any)
		if refused := saw["state"] == "TASK_ERROR"; refused != (c.field != "") && step != "too-much" && step != "ports" {
			t.Errorf("%s: the original said %v", step, saw["state"])
		}
		delete(answers, step)
		n, err := CheckTask(taskWith(t, c.change), launch)
		about(t, step, err, c.field)
		if err == nil && step != "zero" && n.Task.IsEmpty() {
			t.Errorf("%s: asks for nothing", step)
		}
	}
	for step := range answers {
		t.Errorf("%s was asked of the original only", step)
	}
}

func TestExecutorsAreRefusedAsTheOriginalDoes(t *testing.T) {
	answers := recorded(t, "refused_executors.json")
	for step, c := range map[string]struct{ executor, field string }{
		"no-command":     {`{"executor_id":{"value":"e"}}`, "executor.command"},
		"default-type":   {`{"executor_id":{"value":"e"},"type":"DEFAULT","command":{"value":"x"}}`, "executor.type"},
		"bad-id":         {`{"executor_id":{"value":"a/b"},"command":{"value":"x"}}`, "executor.executor_id"},
		"foreign":        {`{"executor_id":{"value":"e"},"framework_id":{"value":"other"},"command":{"value":"x"}}`, "executor.framework_id"},
		"negative-grace": {`{"executor_id":{"value":"e"},"command":{"value":"x"},"shutdown_grace_period":{"nanoseconds":-1}}`, "executor.shutdown_grace_period"},
		"both":           {`{"executor_id":{"value":"e"},"command":{"value":"x"}}`, "command"},
	} {
		delete(answers, step)
		change := `"command":null,"executor":` + c.executor
		if step == "both" {
			change = `"executor":` + c.executor
		}
		_, err := CheckTask(taskWith(t, change), launch)
		about(t, step, err, c.field)
	}
	for step := range answers {
		t.Errorf("%s was asked of the original only", step)
	}
	n, err := CheckTask(taskWith(t, `"command":null,"executor":{"executor_id":{"value":"e"},"type":"CUSTOM","command":{"value":"x"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}]}`), launch)
	if err != nil || n.Executor.String() != "cpus:1" || n.Task.String() != "cpus:0.1;mem:32" {
		t.Errorf("%v, %v", n, err)
	}
	for name, c := range map[string]struct{ more, field string }{
		"revocable in part":     {`"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"revocable":{}}]`, `resources ("cpus")`},
		"of another role":       {`"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"allocation_info":{"role":"other"}}]`, "executor.resources"},
		"a bad environment":     {`"command":{"environment":{"variables":[{"name":"X"}]}}`, "executor.command.environment"},
		"a bad container":       {`"container":{"type":"DOCKER"}`, "executor.container.docker"},
		"asks to share cgroups": {`"container":{"type":"MESOS","linux_info":{"share_cgroups":true}}`, "executor.container.linux_info.share_cgroups"},
	} {
		_, err := CheckTask(taskWith(t, `"command":null,"executor":{"executor_id":{"value":"e"},"command":{"value":"x"},`+c.more+`}`), launch)
		about(t, name, err, c.field)
	}
}

func TestOtherTasks(t *testing.T) {
	disk := func(more string) string {
		return `"resources":[{"name":"disk","type":"SCALAR","scalar":{"value":1},` + more + `}]`
	}
	const reserved = `"reservations":[{"type":"DYNAMIC","role":"probe"}],`
	variable := func(v string) string {
		return `"command":{"value":"x","environment":{"variables":[{"name":"X",` + v + `}]}}`
	}
	source := func(s string) string {
		return `"container":{"type":"MESOS","volumes":[{"mode":"RW","container_path":"x","source":` + s + `}]}`
	}
	image := func(s string) string {
		return `"container":{"type":"MESOS","mesos":{"image":{"type":"DOCKER","docker":{"name":"i",` + s + `}}}}`
	}
	for name, c := range map[string]struct{ change, field string }{
		"half a gpu":                         {`"resources":[{"name":"gpus","type":"SCALAR","scalar":{"value":0.5}}]`, `resources ("gpus")`},
		"two gpus":                           {`"resources":[{"name":"gpus","type":"SCALAR","scalar":{"value":2}}]`, ""},
		"a volume":                           {disk(reserved + `"disk":{"persistence":{"id":"v"},"volume":{"mode":"RW","container_path":"d"}}`), ""},
		"a volume on unreserved disk":        {disk(`"disk":{"persistence":{"id":"v"},"volume":{"mode":"RW","container_path":"d"}}`), `resources ("disk").disk.persistence`},
		"a volume without a place":           {disk(reserved + `"disk":{"persistence":{"id":"v"}}`), `resources ("disk").disk.volume`},
		"a volume of the host":               {disk(reserved + `"disk":{"persistence":{"id":"v"},"volume":{"mode":"RW","container_path":"d","host_path":"/h"}}`), `resources ("disk").disk.volume.host_path`},
		"a volume with a bad id":             {disk(reserved + `"disk":{"persistence":{"id":"a/b"},"volume":{"mode":"RW","container_path":"d"}}`), `resources ("disk").disk.persistence.id`},
		"a revocable volume":                 {disk(reserved + `"revocable":{},"disk":{"persistence":{"id":"v"},"volume":{"mode":"RW","container_path":"d"}}`), `resources ("disk").disk.persistence`},
		"a disk with a volume only":          {disk(`"disk":{"volume":{"mode":"RW","container_path":"d"}}`), `resources ("disk").disk.volume`},
		"a disk that says nothing":           {disk(`"disk":{}`), `resources ("disk").disk`},
		"a mounted disk":                     {disk(`"disk":{"source":{"type":"MOUNT","mount":{"root":"/m"}}}`), ""},
		"an inferred health check":           {`"health_check":{"tcp":{"port":1}}`, ""},
		"two kinds of health check":          {`"health_check":{"tcp":{"port":1},"http":{"port":1}}`, "health_check.type"},
		"no kind of health check":            {`"health_check":{}`, "health_check.type"},
		"a health check's path":              {`"health_check":{"http":{"port":1,"path":"x"}}`, "health_check.http.path"},
		"a health check's scheme":            {`"health_check":{"http":{"port":1,"scheme":"ftp"}}`, "health_check.http.scheme"},
		"a health check's empty command":     {`"health_check":{"command":{}}`, "health_check.command.value"},
		"a health check without its tcp":     {`"health_check":{"type":"TCP"}`, "health_check.tcp"},
		"a health check before its time":     {`"health_check":{"tcp":{"port":1},"grace_period_seconds":-1}`, "health_check.grace_period_seconds"},
		"a check over http":                  {`"check":{"type":"HTTP","http":{"port":1,"path":"/x"}}`, ""},
		"a check over http, bad path":        {`"check":{"type":"HTTP","http":{"port":1,"path":"x"}}`, "check.http.path"},
		"a check over tcp without it":        {`"check":{"type":"TCP"}`, "check.tcp"},
		"a check over http without it":       {`"check":{"type":"HTTP"}`, "check.http"},
		"a check by a bad command":           {`"check":{"type":"COMMAND","command":{"command":{}}}`, "check.command.command.value"},
		"a check in the past":                {`"check":{"type":"TCP","tcp":{"port":1},"interval_seconds":-2}`, "check.interval_seconds"},
		"a secret variable":                  {variable(`"type":"SECRET","secret":{"type":"VALUE","value":{"data":"eA=="}}`), ""},
		"a secret with a zero byte":          {variable(`"type":"SECRET","secret":{"type":"VALUE","value":{"data":"AA=="}}`), "command.environment.variables[0]"},
		"a secret with a value beside":       {variable(`"type":"SECRET","value":"x","secret":{"type":"VALUE","value":{"data":"eA=="}}`), "command.environment.variables[0]"},
		"a secret without type":              {variable(`"type":"SECRET","secret":{}`), "command.environment.variables[0]"},
		"a reference without it":             {variable(`"type":"SECRET","secret":{"type":"REFERENCE"}`), "command.environment.variables[0]"},
		"a secret's value without it":        {variable(`"type":"SECRET","secret":{"type":"VALUE"}`), "command.environment.variables[0]"},
		"a value with a secret":              {variable(`"value":"x","secret":{}`), "command.environment.variables[0]"},
		"a variable of unknown type":         {variable(`"type":"UNKNOWN","value":"x"`), "command.environment.variables[0]"},
		"a volume from the host":             {`"container":{"type":"MESOS","volumes":[{"mode":"RW","container_path":"x","host_path":"y"}]}`, ""},
		"a volume from two places":           {`"container":{"type":"MESOS","volumes":[{"mode":"RW","container_path":"x","host_path":"y","image":{"type":"DOCKER"}}]}`, "container.volumes[0]"},
		"a source without type":              {source(`{}`), "container.volumes[0].source.type"},
		"a source without its member":        {source(`{"type":"HOST_PATH"}`), "container.volumes[0].source.host_path"},
		"a docker volume without it":         {source(`{"type":"DOCKER_VOLUME"}`), "container.volumes[0].source.docker_volume"},
		"a csi volume without it":            {source(`{"type":"CSI_VOLUME"}`), "container.volumes[0].source.csi_volume"},
		"a secret volume":                    {source(`{"type":"SECRET","secret":{"type":"REFERENCE","reference":{"name":"x"}}}`), ""},
		"a secret volume without it":         {source(`{"type":"SECRET"}`), "container.volumes[0].source.secret"},
		"an image with credentials":          {image(`"config":{"type":"VALUE","value":{"data":"eA=="}}`), ""},
		"an image's credentials, no value":   {image(`"config":{"type":"VALUE"}`), "container.mesos.image.docker.config"},
		"an image's credentials as of old":   {image(`"credential":{"principal":"p","secret":"s"}`), "container.mesos.image.docker.credential"},
		"an image volume":                    {`"container":{"type":"MESOS","volumes":[{"mode":"RW","container_path":"x","image":{"type":"DOCKER","docker":{"name":"i","config":{"type":"VALUE"}}}}]}`, "container.volumes[0].image.docker.config"},
		"a path in the sandbox":              {source(`{"type":"SANDBOX_PATH","sandbox_path":{"type":"SELF","path":"x"}}`), ""},
		"a path in a sandbox, unknown whose": {source(`{"type":"SANDBOX_PATH","sandbox_path":{"path":"x"}}`), "container.volumes[0].source.sandbox_path.type"},
		"a path in a sandbox without it":     {source(`{"type":"SANDBOX_PATH"}`), "container.volumes[0].source.sandbox_path"},
		"a docker container with a name":     {`"container":{"type":"DOCKER","docker":{"image":"i","parameters":[{"key":"name","value":"x"}]}}`, "container.docker.parameters[0]"},
		"limits":                             {`"limits":{"cpus":{"value":"Infinity"},"mem":{"value":32}}`, ""},
		"a limit of what is not asked for":   {`"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}],"limits":{"mem":{"value":32}}`, "limits.mem"},
		"cgroups of its own outside a group": {`"container":{"type":"MESOS","linux_info":{"share_cgroups":false}}`, "container.linux_info.share_cgroups"},
		"two disks of one id":                {`"resources":[{"name":"disk","type":"SCALAR","scalar":{"value":1},` + reserved + `"disk":{"persistence":{"id":"v"},"volume":{"mode":"RW","container_path":"d"}}},{"name":"disk","type":"SCALAR","scalar":{"value":2},` + reserved + `"disk":{"persistence":{"id":"v"},"volume":{"mode":"RW","container_path":"e"}}}]`, `resources ("disk").disk.persistence.id`},
	} {
		_, err := CheckTask(taskWith(t, c.change), launch)
		about(t, name, err, c.field)
	}
}

func TestGroups(t *testing.T) {
	const amounts = `{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},{"name":"mem","type":"SCALAR","scalar":{"value":32}},{"name":"disk","type":"SCALAR","scalar":{"value":32}}`
	executor := func(more string) string {
		return `{"executor_id":{"value":"pod"},"framework_id":{"value":"f"},"type":"DEFAULT","resources":[` + amounts + `]` + more + `}`
	}
	answers := recorded(t, "refused_groups.json")
	for name, c := range map[string]struct{ executor, second, field string }{
		"no-disk":                {executor(`,"resources":[` + someAmount + `]`), ``, "executor.resources"},
		"docker-task":            {executor(``), `"container":{"type":"DOCKER","docker":{"image":"x"}}`, "task_group.tasks[1].container.type"},
		"one-bad":                {executor(``), `"resources":[]`, "task_group.tasks[1].resources"},
		"too-small":              {executor(`,"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.001}},{"name":"mem","type":"SCALAR","scalar":{"value":32}},{"name":"disk","type":"SCALAR","scalar":{"value":1}}]`), ``, "executor.resources"},
		"custom-without-command": {executor(`,"type":"CUSTOM"`), ``, "executor.command"},
		"with-command":           {executor(`,"command":{"value":"true"}`), ``, "executor.command"},

		"a good one":                  {executor(``), ``, ""},
		"its own executor in a task":  {executor(``), `"executor":` + executor(``), ""},
		"another executor in a task":  {executor(``), `"executor":{"executor_id":{"value":"other"}}`, "task_group.tasks[1].executor"},
		"one id twice":                {executor(``), `"task_id":{"value":"x"}`, "task_group.tasks[1].task_id"},
		"little memory":               {executor(`,"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},{"name":"mem","type":"SCALAR","scalar":{"value":31}},{"name":"disk","type":"SCALAR","scalar":{"value":1}}]`), ``, "executor.resources"},
		"an executor without type":    {executor(`,"type":null,"command":{"value":"x"}`), ``, "executor.type"},
		"an executor without a home":  {executor(`,"framework_id":null`), ``, "executor.framework_id"},
		"an executor with an image":   {executor(`,"container":{"type":"MESOS","mesos":{"image":{"type":"DOCKER"}}}`), ``, "executor.container.mesos.image"},
		"an executor in docker":       {executor(`,"container":{"type":"DOCKER","docker":{"image":"x"}}`), ``, "executor.container.type"},
		"a custom one in docker":      {executor(`,"type":"CUSTOM","command":{"value":"x"},"container":{"type":"DOCKER","docker":{"image":"x"}}`), ``, "executor.container.type"},
		"limits with shared cgroups":  {executor(``), `"limits":{"cpus":{"value":1}}`, "task_group.tasks[1].limits.cpus"},
		"cgroups shared in part":      {executor(``), `"container":{"type":"MESOS","linux_info":{"share_cgroups":false}}`, "task_group.tasks[1].container.linux_info.share_cgroups"},
		"a check that cannot reach":   {executor(``), `"container":{"type":"MESOS","network_infos":[{"name":"n"}]},"check":{"type":"TCP","tcp":{"port":1}}`, "task_group.tasks[1].check"},
		"a health check that cannot":  {executor(``), `"container":{"type":"MESOS","network_infos":[{"name":"n"}]},"health_check":{"http":{"port":1}}`, "task_group.tasks[1].health_check"},
		"a command check that can":    {executor(``), `"container":{"type":"MESOS","network_infos":[{"name":"n"}]},"health_check":{"command":{"value":"true"}}`, ""},
		"revocable beside what stays": {executor(``), `"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"revocable":{}}]`, `task_group.tasks[1].resources ("cpus")`},
	} {
		delete(answers, name)
		if c.second == "" {
			c.second = `"task_id":{"value":"y"}`
		} else if !strings.Contains(c.second, `"task_id"`) {
			c.second += `,"task_id":{"value":"y"}`
		}
		needs, has, err := CheckGroup(read[mesosv1.ExecutorInfo](t, c.executor), []*mesosv1.TaskInfo{taskWith(t, ""), taskWith(t, c.second)}, launch)
		about(t, name, err, c.field)
		if err == nil && (len(needs) != 2 || has.String() != "cpus:0.1;disk:32;mem:32") {
			t.Errorf("%s: %v, %v", name, needs, has)
		}
	}
	for step := range answers {
		t.Errorf("%s was asked of the original only", step)
	}
	if _, _, err := CheckGroup(read[mesosv1.ExecutorInfo](t, executor(``)), nil, launch); err == nil {
		t.Error("a group without tasks was taken")
	}
}

// shape is v with every text and number that differs from run to run replaced.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = shape(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = shape(v[i])
		}
		return out
	}
	return fmt.Sprintf("%T", v)
}

func TestEventsHaveTheShapeOfTheOriginals(t *testing.T) {
	face := func() *AgentFace {
		attributes, err := ParseAttributes("level:10;rack:r1;zone:z1")
		if err != nil {
			t.Fatal(err)
		}
		url := read[mesosv1.URL](t, `{"scheme":"http","address":{"hostname":"h","ip":"i","port":5051},"path":"/slave(1)"}`)
		f, err := NewAgentFace(url, nil, attributes, nil)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	all, err := resource.Parse("cpus:4;disk:10000;mem:4096;ports:[31000-32000]", "*")
	if err != nil {
		t.Fatal(err)
	}
	o := Offer{ID: "o", FrameworkID: "f", AgentID: "a", Hostname: "h", Role: "probe", Resources: all, Agent: face()}
	same := func(name string, want any, got []byte) {
		t.Helper()
		var v any
		if err := json.Unmarshal(got, &v); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if diff := cmp.Diff(shape(want), shape(v)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	same("an offer", recorded(t, "events.json")["an offer"], o.AppendJSON(nil))
	o.LegacyRole, o.Format = true, resource.PreRefinement
	same("an offer of old", recorded(t, "legacy_role.json")["an offer"], o.AppendJSON(nil))
	for _, want := range recorded(t, "finishes.json")["updates"].([]any) {
		s := benchmarkStatus(t)
		s.Healthy = -1
		if m, ok := want.(map[string]any)["message"].(string); ok {
			s.Message = m
		}
		same("an update", want, s.AppendJSON(nil))
	}
	text, err := json.Marshal(recorded(t, "events.json")["SUBSCRIBED"])
	if err != nil {
		t.Fatal(err)
	}
	got, err := AppendJSON(nil, read[scheduler.Event](t, string(text)))
	if err != nil {
		t.Fatal(err)
	}
	same("SUBSCRIBED", recorded(t, "events.json")["SUBSCRIBED"], got)
}
