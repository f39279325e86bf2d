package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/host"
)

// service is a program that is asked for in some way.
type service struct {
	*program
	way
	id, image string
	port      uint32   // of the machine
	at        []string // where it is reached
	line      *line    // that stays open
}

// way is how somebody asks for a network, and has a volume where a program of an image looks for it.
type way struct {
	network string
	place   string // of the persistent volume
	edit    func(s *service, x *mesosv1.TaskInfo)
}

var ways = []way{
	{"host", "data", func(s *service, x *mesosv1.TaskInfo) {
		withUser(inImage(x, s.image), "nobody") // who owns the sandbox and the volume in it
		variable(x, "DATA", "/mnt/mesos/sandbox/data")
		variable(x, "PORT", fmt.Sprint(s.port))
		holding(x, s.port)
	}},
	{"mesos-bridge", "/data", func(s *service, x *mesosv1.TaskInfo) {
		x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_DOCKER.Enum(), Docker: &mesosv1.ContainerInfo_DockerInfo{
			Image: &s.image, Network: mesosv1.ContainerInfo_DockerInfo_BRIDGE.Enum(),
			PortMappings: []*mesosv1.ContainerInfo_DockerInfo_PortMapping{{HostPort: &s.port, ContainerPort: &s.inner}},
		}}
		holding(x, s.port)
	}},
	{"red", "kept", func(s *service, x *mesosv1.TaskInfo) {
		onNetworks(inImage(x, s.image), []string{"red"}, s.port, s.inner)
		// As applications of Marathon have it, whose persistent volumes are below the sandbox.
		x.Container.Volumes = []*mesosv1.Volume{{Mode: mesosv1.Volume_RW.Enum(), ContainerPath: new("/data"), HostPath: new("kept")}}
	}},
}

func variable(x *mesosv1.TaskInfo, name, value string) {
	e := x.Command.Environment
	e.Variables = append(e.Variables, &mesosv1.Environment_Variable{Name: &name, Value: &value})
}

// task runs what the image says, with the volume of the service.
func (s *service) task(id string, volume *mesosv1.Resource) *mesosv1.TaskInfo {
	x := task(id, "")
	x.Command.Shell, x.Command.Value = new(false), nil
	x.Resources[1].Scalar.Value = new(256.0)
	s.edit(s, x)
	return onVolume(x, volume)
}

// claim reserves disk, makes volumes of it, and launches tasks with them, as one answer to the present offers.
func (f *framework) claim(volumes []*mesosv1.Resource, tasks []*mesosv1.TaskInfo) {
	f.t.Helper()
	f.offered()
	f.mu.Lock()
	a := &scheduler.Call_Accept{Filters: &mesosv1.Filters{RefuseSeconds: proto.Float64(0)}}
	for name, o := range f.offers {
		a.OfferIds = append(a.OfferIds, o.GetId())
		for _, x := range tasks {
			x.AgentId = o.GetAgentId()
		}
		delete(f.offers, name)
	}
	f.want = false
	f.mu.Unlock()
	var plain []*mesosv1.Resource
	for _, v := range volumes {
		r := proto.CloneOf(v)
		r.Disk = nil
		plain = append(plain, r)
	}
	a.Operations = []*mesosv1.Offer_Operation{
		{Type: mesosv1.Offer_Operation_RESERVE.Enum(), Reserve: &mesosv1.Offer_Operation_Reserve{Resources: plain}},
		{Type: mesosv1.Offer_Operation_CREATE.Enum(), Create: &mesosv1.Offer_Operation_Create{Volumes: volumes}},
		{Type: mesosv1.Offer_Operation_LAUNCH.Enum(), Launch: &mesosv1.Offer_Operation_Launch{TaskInfos: tasks}},
	}
	must(f.t, f.s.Call(f.t.Context(), &scheduler.Call{Type: scheduler.Call_ACCEPT.Enum(), Accept: a}))
}

// persistent is a volume that is to be made.
func persistent(id, place string) *mesosv1.Resource {
	return &mesosv1.Resource{
		Name: new("disk"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: new(128.0)},
		AllocationInfo: &mesosv1.Resource_AllocationInfo{Role: new("test")},
		Reservations:   []*mesosv1.Resource_ReservationInfo{{Type: mesosv1.Resource_ReservationInfo_DYNAMIC.Enum(), Role: new("test")}},
		Disk: &mesosv1.Resource_DiskInfo{
			Persistence: &mesosv1.Resource_DiskInfo_Persistence{Id: &id},
			Volume:      &mesosv1.Volume{Mode: mesosv1.Volume_RW.Enum(), ContainerPath: &place},
		},
	}
}

// reachedAt takes from a status where it is reached: at the machine's port, and at an address of its own if it has one.
func (s *service) reachedAt(st *mesosv1.TaskStatus) {
	s.at = []string{fmt.Sprintf("127.0.0.1:%d", s.port)}
	if s.network != "host" {
		s.at = append(s.at, fmt.Sprintf("%s:%d", addressOf(st), s.inner))
	}
}

// reached waits until a service gives a value back, wherever it is reached.
func (s *service) reached(t *testing.T, key, want string) {
	t.Helper()
	for _, at := range s.at {
		eventually(t, fmt.Sprintf("%s at %s to have %s", s.id, at, key), func() error {
			l, err := dial(at)
			if err != nil {
				return err
			}
			defer l.Close()
			if err = s.hello(l); err != nil {
				return err
			}
			if got, err := s.get(l, key); err != nil || got != want {
				return fmt.Errorf("it gives %q, %w", got, err)
			}
			return nil
		})
	}
}

// open connects to a service, once it is there, by the line that stays.
func (s *service) open(t *testing.T) {
	t.Helper()
	eventually(t, s.id+" to answer at "+s.at[0], func() (err error) {
		if s.line, err = dial(s.at[0]); err != nil {
			return err
		}
		if err = s.hello(s.line); err != nil {
			s.line.Close()
		}
		return err
	})
	t.Cleanup(func() { s.line.Close() })
}

// programsOf are the first processes of containers, by executor.
func programsOf(t *testing.T, n *node) map[string]process {
	t.Helper()
	got := ask(t, &http.Client{}, http.MethodGet, "http://"+n.agent+"/containers", "")
	var all []struct {
		ExecutorID string `json:"executor_id"`
		Status     struct {
			PID int `json:"executor_pid"`
		}
	}
	must(t, json.Unmarshal([]byte(got.body), &all))
	out := map[string]process{}
	for _, c := range all {
		ticks, err := host.StartTicks(c.Status.PID)
		must(t, err)
		out[c.ExecutorID] = process{c.Status.PID, ticks}
	}
	return out
}

func TestRealProgramsServeAndKeepTheirDataWhateverDies(t *testing.T) {
	need(t, true)
	layers := debianLayers(t)
	if apart(t) {
		return
	}
	dir, args := cniDirs(t)
	registry := newRealShelf(t, layers)
	n := bridgeNode(t, append(args, "--plain-registries", registry.host)...)
	f := subscribe(t, n.master, able(mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT))

	var all []*service
	var volumes []*mesosv1.Resource
	var tasks []*mesosv1.TaskInfo
	for _, p := range programs {
		image := registry.pushProgram(p)
		for _, w := range ways {
			s := &service{program: p, way: w, id: p.name + "-" + w.network, image: image, port: uint32(31000 + len(all))}
			v := persistent(s.id, w.place)
			all, volumes, tasks = append(all, s), append(volumes, v), append(tasks, s.task(s.id, proto.CloneOf(v)))
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(n.data(), "agent/slaves/*/frameworks/*/executors/*/runs/latest/std*")) // the pattern is good
			for _, l := range logs {
				t.Logf("%s:\n%s", l, record(l))
			}
		}
	})
	f.claim(volumes, tasks)
	for _, s := range all {
		st := f.await(s.id, running)
		if st.GetState() != running {
			t.Fatalf("%s: %s", s.id, st)
		}
		s.reachedAt(st)
		s.open(t)
		must(t, s.put(s.line, "first", s.id))
		s.reached(t, "first", s.id)
	}
	pids := programsOf(t, n)
	// goOn sees that all goes on as it was, over lines that were open and new ones, and keeps something more.
	goOn := func(when, key string) {
		t.Helper()
		for _, s := range all {
			if err := s.put(s.line, key, s.id); err != nil {
				t.Errorf("%s: %s by the line that was open: %v", when, s.id, err)
			}
			s.reached(t, "first", s.id)
			s.reached(t, key, s.id)
		}
	}
	same := func(when string) {
		t.Helper()
		now := programsOf(t, n)
		for _, s := range all {
			if pids[s.id] != now[s.id] || now[s.id].pid == 0 {
				t.Errorf("%s: %s ran as %v and runs as %v", when, s.id, pids[s.id], now[s.id])
			}
		}
	}

	before := f.subscriptions()
	n.signal(syscall.SIGKILL)
	goOn("without an agent", "away")
	n.start()
	before = f.resubscribed(before)
	goOn("after a kill -9", "back")
	same("after a kill -9")

	if code := n.signal(syscall.SIGTERM); code != 0 || !strings.Contains(n.out.String(), fmt.Sprintf("%d tasks go on", len(all))) {
		t.Errorf("exit code %d: %s", code, n.out)
	}
	n.bin = bin(t, "two")
	n.start()
	f.resubscribed(before)
	if said := n.says("--version"); !strings.Contains(said, "two") {
		t.Errorf("the other build says it is %s", said)
	}
	goOn("after an upgrade", "upgraded")
	same("after an upgrade")
	for _, s := range all {
		if code, said := outcome(t, n.pando("task", "exec", "--master", n.master, s.id, "--", "sh", "-c", s.inside)); code != 0 || strings.TrimSpace(said) != s.id {
			t.Errorf("%s by its own program: %d %q", s.id, code, said)
		}
	}

	// All end, and others come to the same data.
	for _, s := range all {
		if e := f.killed(s.id); e.GetState() != killed {
			t.Errorf("%s ended as %v", s.id, e)
		}
		if out := said(t, n, f, s.id); !strings.Contains(out, s.bye) {
			t.Errorf("%s was not asked to end by %s: %s", s.id, s.stop, out)
		}
	}
	nothingOfNetworks(t, n)
	tasks = nil
	for _, s := range all {
		tasks = append(tasks, s.task(s.id+"-again", f.volume(s.id)))
	}
	f.launch(tasks...)
	for _, s := range all {
		s.reachedAt(f.await(s.id+"-again", running))
		for _, key := range []string{"first", "away", "back", "upgraded"} {
			s.reached(t, key, s.id)
		}
		if out := said(t, n, f, s.id+"-again"); strings.Contains(out, "not properly shut down") {
			t.Errorf("%s found its data torn off: %s", s.id, out)
		}
	}
	for _, s := range all {
		f.killed(s.id + "-again")
	}
	nothingOfNetworks(t, n)
	if left, err := filepath.Glob(filepath.Join(dir, "leases/*/10.*")); err != nil || len(left) > 0 {
		t.Errorf("addresses are still given: %v, %v", left, err)
	}
}

// said is what a task wrote.
func said(t *testing.T, n *node, f *framework, id string) string {
	t.Helper()
	box := sandboxOf(t, n, f, id)
	return record(filepath.Join(box, "stdout")).String() + record(filepath.Join(box, "stderr")).String()
}
