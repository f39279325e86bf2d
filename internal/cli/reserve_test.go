package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/mesos/resource"
)

// keeper is a master as far as reservations and volumes go: it has nodes, and remembers what it is asked to change.
type keeper struct {
	t      *testing.T
	agents []*master.Response_GetAgents_Agent
	mu     sync.Mutex
	asked  []string
}

func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := &master.Call{}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = proto.Unmarshal(body, call)
	}
	if err != nil {
		k.t.Error(err)
		return
	}
	if call.GetType() == master.Call_GET_AGENTS {
		b, err := proto.Marshal(&master.Response{Type: master.Response_GET_AGENTS.Enum(), GetAgents: &master.Response_GetAgents{Agents: k.agents}})
		if err != nil {
			k.t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(b) // a client that is gone does not want it
		return
	}
	agent, l := call.GetReserveResources().GetAgentId(), call.GetReserveResources().GetResources()
	switch call.GetType() {
	case master.Call_UNRESERVE_RESOURCES:
		agent, l = call.GetUnreserveResources().GetAgentId(), call.GetUnreserveResources().GetResources()
	case master.Call_CREATE_VOLUMES:
		agent, l = call.GetCreateVolumes().GetAgentId(), call.GetCreateVolumes().GetVolumes()
	case master.Call_DESTROY_VOLUMES:
		agent, l = call.GetDestroyVolumes().GetAgentId(), call.GetDestroyVolumes().GetVolumes()
	}
	list, _, err := resource.FromProto(l)
	if err != nil {
		k.t.Errorf("%s: %v", call.GetType(), err)
	}
	var labels []string
	for _, r := range l {
		for _, x := range r.GetReservations() {
			for _, label := range x.GetLabels().GetLabels() {
				if word := " " + label.GetKey() + "=" + label.GetValue(); !slices.Contains(labels, word) {
					labels = append(labels, word)
				}
			}
		}
	}
	k.mu.Lock()
	k.asked = append(k.asked, fmt.Sprintf("%s %s %s", call.GetType(), agent.GetValue(), list)+strings.Join(labels, ""))
	k.mu.Unlock()
	w.WriteHeader(http.StatusAccepted)
}

// took are the changes it was asked for since the last time.
func (k *keeper) took() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer func() { k.asked = nil }()
	return strings.Join(k.asked, "\n")
}

// reserved is something of a role, with the labels of its reservation, each a key and its value.
func reserved(t *testing.T, text, role string, labels ...string) []*mesosv1.Resource {
	t.Helper()
	l, err := resource.Parse(text, "*")
	if err != nil {
		t.Fatal(err)
	}
	r := resource.Reservation{Dynamic: true, Role: role, Principal: "ann"}
	for i := 0; i < len(labels); i += 2 {
		r.Labels = append(r.Labels, resource.Label{Key: labels[i], Value: labels[i+1], HasValue: true})
	}
	return l.PushReservation(r).ToProto("", resource.PostRefinement)
}

// volumeOf makes a volume of reserved disk.
func volumeOf(disk []*mesosv1.Resource, id string, shared bool) *mesosv1.Resource {
	v := disk[0]
	v.Disk = &mesosv1.Resource_DiskInfo{
		Persistence: &mesosv1.Resource_DiskInfo_Persistence{Id: &id, Principal: new("ann")},
		Volume:      &mesosv1.Volume{ContainerPath: new("data/" + id), Mode: mesosv1.Volume_RW.Enum()},
	}
	if shared {
		v.Shared = &mesosv1.Resource_SharedInfo{}
	}
	return v
}

func newKeeper(t *testing.T) (*keeper, *shell) {
	t.Helper()
	node := func(id, host string, total, allocated []*mesosv1.Resource) *master.Response_GetAgents_Agent {
		return &master.Response_GetAgents_Agent{
			AgentInfo: &mesosv1.AgentInfo{Id: &mesosv1.AgentID{Value: &id}, Hostname: &host}, TotalResources: total, AllocatedResources: allocated, Active: new(true), Version: new("v1"),
		}
	}
	free, err := resource.Parse("cpus:2;disk:1000", "*")
	if err != nil {
		t.Fatal(err)
	}
	static, err := resource.Parse("mem(web):512", "*")
	if err != nil {
		t.Fatal(err)
	}
	used := volumeOf(reserved(t, "disk:30", "db"), "v", false)
	total := free.ToProto("", resource.PostRefinement)
	total = append(total, static.ToProto("", resource.PostRefinement)...)
	total = append(total, reserved(t, "cpus:1;disk:100", "db")...)
	total = append(total, reserved(t, "cpus:2", "db", "team", "shop")...)
	total = append(total, used, volumeOf(reserved(t, "disk:8", "web"), "v", false), volumeOf(reserved(t, "disk:16", "web"), "s", true))
	k := &keeper{t: t, agents: []*master.Response_GetAgents_Agent{
		node("x-S1", "node-2", nil, nil), node("x-S0", "node-1", total, []*mesosv1.Resource{used}),
	}}
	server := httptest.NewServer(k)
	t.Cleanup(server.Close)
	return k, newShell(t, strings.TrimPrefix(server.URL, "http://"))
}

func TestWhatIsReservedAndMadeIsListedByNode(t *testing.T) {
	_, s := newKeeper(t)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"reserve", "ls"}, `
NODE    ROLE  RESOURCES        BY         PRINCIPAL  LABELS
node-1  db    cpus:1;disk:130  operation  ann        -
node-1  db    cpus:2           operation  ann        team=shop
node-1  web   disk:24          operation  ann        -
node-1  web   mem:512          settings   -          -
`},
		{[]string{"volume", "ls"}, `
NODE    VOLUME  ROLE  SIZE   PATH IN TASKS  SHARED  USED
node-1  v       db    30 MB  data/v         no      yes
node-1  v       web   8 MB   data/v         no      no
node-1  s       web   16 MB  data/s         yes     no
`},
	} {
		s.expect(exitOK, tc.args...)
		if d := cmp.Diff(strings.TrimPrefix(tc.want, "\n"), s.out.String()); d != "" {
			t.Errorf("pando %s (-want +got):\n%s", strings.Join(tc.args, " "), d)
		}
	}
	s.expect(exitOK, "reserve", "ls", "-o", "json")
	var kept []reservedLine
	if err := json.Unmarshal(s.out.Bytes(), &kept); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(reservedLine{"x-S0", "node-1", "db", true, "cpus:2", "ann", "team=shop"}, kept[1]); d != "" {
		t.Error(d)
	}
	s.expect(exitOK, "volume", "ls", "-o", "json")
	var made []volumeLine
	if err := json.Unmarshal(s.out.Bytes(), &made); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(volumeLine{"x-S0", "node-1", "s", "web", 16, "data/s", true, false, nil}, made[2], cmp.AllowUnexported(volumeLine{})); d != "" {
		t.Error(d)
	}
}

func TestReservationsAndVolumesAreChangedAsTheyAreOnTheNode(t *testing.T) {
	k, s := newKeeper(t)
	for _, tc := range []struct {
		name, args string
		code       int
		call       string // what the master is asked for
		says       string // part of what is printed
	}{
		{
			"a reservation with labels", "reserve node-1 cpus:0.5;ports:[1-2] --role db --label team=shop --label on --principal bob", exitOK,
			"RESERVE_RESOURCES x-S0 cpus(db)<dynamic db bob>:0.5;ports(db)<dynamic db bob>:[1-2] team=shop on=", "is reserved for db",
		},
		{"a role that is none", "reserve node-1 cpus:1 --role db/../x", exitUsage, "", "--role"},
		{"a label without a key", "reserve node-1 cpus:1 --role db --label =x", exitUsage, "", "--label"},
		{"resources that are none", "reserve node-1 cpus:lots --role db", exitUsage, "", "RESOURCES"},
		{"a node that is not there", "reserve node-9 cpus:1 --role db", exitNotFound, "", "node-9"},
		{"ids of which two begin so", "reserve x-S cpus:1 --role db", exitNotFound, "", "node-2"},
		{"part of a reservation", "unreserve x-S0 cpus:0.5 --role db", exitOK, "UNRESERVE_RESOURCES x-S0 cpus(db)<dynamic db ann>:0.5", "is for everybody"},
		{
			"parts of two reservations", "unreserve node-1 cpus:1.5;disk:100 --role db", exitOK,
			"UNRESERVE_RESOURCES x-S0 cpus(db)<dynamic db ann>:1;cpus(db)<dynamic db ann>:0.5;disk(db)<dynamic db ann>:100 team=shop", "",
		},
		{"what a volume is made of", "unreserve node-1 disk:101 --role db", exitFailed, "", "volume"},
		{"what the node's settings reserve", "unreserve node-1 mem:1 --role web", exitFailed, "", "are not reserved for web by an operation"},
		{
			"a volume", "volume create node-1 w --role db --size 64 --path data --shared --principal bob", exitOK,
			"CREATE_VOLUMES x-S0 disk(db)<dynamic db ann, disk w, shared>:64", "volume w of 64 MB is made on node-1 for db",
		},
		{"a volume of what is not reserved", "volume create node-1 w --role db --size 101 --path data", exitFailed, "", "pando reserve node-1 disk:101 --role db"},
		{"an end of a volume", "volume rm node-1 s", exitOK, "DESTROY_VOLUMES x-S0 disk(web)<dynamic web ann, disk s, shared>:16", "its data"},
		{"an end of one of two of a name", "volume rm node-1 v --role web", exitOK, "DESTROY_VOLUMES x-S0 disk(web)<dynamic web ann, disk v>:8", "its data"},
		{"an end of two of a name", "volume rm node-1 v", exitNotFound, "", "--role"},
		{"an end of a volume that is not there", "volume rm node-1 nothing", exitNotFound, "", "pando volume ls"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.t = t
			s.expect(tc.code, strings.Fields(tc.args)...)
			if d := cmp.Diff(tc.call, k.took()); d != "" {
				t.Errorf("pando %s asks (-want +got):\n%s", tc.args, d)
			}
			if all := s.out.String() + s.err.String(); !strings.Contains(all, tc.says) {
				t.Errorf("pando %s says %q, want %q in it", tc.args, all, tc.says)
			}
		})
	}
}

func TestTheShellIsOfferedNodesAndTheirVolumes(t *testing.T) {
	_, s := newKeeper(t)
	for _, tc := range []struct{ args, want string }{
		{"reserve node-", "node-1\nnode-2\n"},
		{"volume create x-S1", "x-S1\n"},
		{"volume rm x-S0 ", "v\nv\ns\n"},
		{"volume rm node-1 s", "s\n"},
		{"volume rm node-2 v", ""},
	} {
		s.expect(exitOK, append([]string{"__complete"}, strings.Split(tc.args, " ")...)...)
		if got, _, _ := strings.Cut(s.out.String(), ":"); got != tc.want {
			t.Errorf("%s is completed to %q, want %q", tc.args, got, tc.want)
		}
	}
}
