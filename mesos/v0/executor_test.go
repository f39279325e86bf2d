package v0

import (
	"testing"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos/resource"
)

func TestExecutorsShowWhatTheirInfoHolds(t *testing.T) {
	held, err := resource.Parse("cpus:0.5;mem:64", "*")
	if err != nil {
		t.Fatal(err)
	}
	id := &mesosv1.ExecutorID{Value: new("ex")}
	for _, c := range []struct {
		name, want string
		info       *mesosv1.ExecutorInfo
	}{
		{
			"one with everything", `{"executor_id":"ex","name":"n","framework_id":"F","command":{"shell":false,"value":"/bin/ex","argv":["ex","-v"],` +
				`"environment":{"variables":[{"name":"A","value":"b"}]},"uris":[{"value":"http://x/y","executable":true}]},` +
				`"resources":{"cpus":0.5,"gpus":0.0,"mem":64.0,"disk":0.0},"role":"probe","labels":[{"key":"k","value":"v"}],"type":"CUSTOM","slave_id":"S0"}`,
			&mesosv1.ExecutorInfo{
				ExecutorId: id, Name: new("n"), Type: mesosv1.ExecutorInfo_CUSTOM.Enum(),
				Labels: &mesosv1.Labels{Labels: []*mesosv1.Label{{Key: new("k"), Value: new("v")}}},
				Command: &mesosv1.CommandInfo{
					Shell: new(false), Value: new("/bin/ex"), Arguments: []string{"ex", "-v"},
					Environment: &mesosv1.Environment{Variables: []*mesosv1.Environment_Variable{{Name: new("A"), Value: new("b")}}},
					Uris:        []*mesosv1.CommandInfo_URI{{Value: new("http://x/y"), Executable: new(true)}},
				},
				Resources: held.ToProto("", resource.PostRefinement),
			},
		},
		{
			"one with little", `{"executor_id":"ex","name":"","framework_id":"F","command":{"value":"exit 0","argv":[],"uris":[]},` +
				`"resources":{"cpus":0.5,"gpus":0.0,"mem":64.0,"disk":0.0},"slave_id":"S0"}`,
			&mesosv1.ExecutorInfo{ExecutorId: id, Command: &mesosv1.CommandInfo{Value: new("exit 0")}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := Executor{Framework: "F", Agent: "S0", Role: "probe", Resources: held, Info: encode(t, c.info)}
			if got := string(e.Append(nil)); !equal(t, got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
