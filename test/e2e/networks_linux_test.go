package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/agent"
)

// inside marks the process of a test that has a network of its own.
const inside = "PANDO_TEST_E2E_INSIDE"

// apart runs the calling test again in a process with a network and mounts of its own, where its bridges disturb nobody and are gone
// with it. It returns false in there, where the test goes on.
func apart(t *testing.T) bool {
	t.Helper()
	need(t, true)
	if os.Getenv(inside) != "" {
		sh(t, "ip", "link", "set", "lo", "up")
		return false
	}
	for _, p := range []string{"ip", "nft", "/bin/busybox"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("SKIP: needs %s", p)
		}
	}
	bin(t, "one") // built once, and handed on
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	c.Env = append(os.Environ(), inside+"="+base)
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("SKIP: %s", out)
	}
	return true
}

func sh(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// onNetworks puts a task into networks by their names, and maps ports of the first: HOST, CONTAINER, and so on. It is given the host ports.
func onNetworks(x *mesosv1.TaskInfo, names []string, ports ...uint32) *mesosv1.TaskInfo {
	if x.Container == nil {
		x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum()}
	}
	for _, name := range names {
		x.Container.NetworkInfos = append(x.Container.NetworkInfos, &mesosv1.NetworkInfo{Name: &name})
	}
	for i := 0; i < len(ports); i += 2 {
		n := x.Container.NetworkInfos[0]
		n.PortMappings = append(n.PortMappings, &mesosv1.NetworkInfo_PortMapping{HostPort: &ports[i], ContainerPort: &ports[i+1]})
		holding(x, ports[i])
	}
	return x
}

// holding gives a task a port of its machine.
func holding(x *mesosv1.TaskInfo, port uint32) {
	x.Resources = append(x.Resources, &mesosv1.Resource{
		Name: new("ports"), Type: mesosv1.Value_RANGES.Enum(), AllocationInfo: &mesosv1.Resource_AllocationInfo{Role: new("test")},
		Ranges: &mesosv1.Value_Ranges{Range: []*mesosv1.Value_Range{{Begin: new(uint64(port)), End: new(uint64(port))}}},
	})
}

// killed asks for a task's end until it is told. A master that is new does not know the task at first.
func (f *framework) killed(id string) *mesosv1.TaskStatus {
	f.t.Helper()
	eventually(f.t, "the end of "+id, func() error {
		_ = f.kill(id) // a master that is not there yet refuses it
		f.mu.Lock()
		defer f.mu.Unlock()
		if all := f.statuses[id]; len(all) == 0 || !terminal(all[len(all)-1]) {
			return errors.New(f.said())
		}
		return nil
	})
	return f.end(id)
}

// bridgeNode is a node in a network of the test's own.
func bridgeNode(t *testing.T, args ...string) *node {
	t.Helper()
	n := newNode(t, "up", args...)
	n.start()
	return n
}

// addressOf is where a status says that its task is reached.
func addressOf(s *mesosv1.TaskStatus) string {
	for _, n := range s.GetContainerStatus().GetNetworkInfos() {
		for _, a := range n.GetIpAddresses() {
			return a.GetIpAddress()
		}
	}
	return ""
}

// says asks a web server, and gives its answer.
func says(t *testing.T, url string) (string, error) {
	t.Helper()
	c := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return strings.TrimSpace(string(b)), err
}

// mustSay waits until a web server gives an answer.
func mustSay(t *testing.T, url, want string) {
	t.Helper()
	eventually(t, url+" to say "+want, func() error {
		if got, err := says(t, url); got != want {
			return fmt.Errorf("it says %q, %v", got, err)
		}
		return nil
	})
}

// nothingOfNetworks waits until no container is in a network of its own any more.
func nothingOfNetworks(t *testing.T, n *node) {
	t.Helper()
	eventually(t, "nothing to be left of networks", func() error {
		left, err := os.ReadDir(filepath.Join(n.run(), "networks/containers"))
		if err != nil || len(left) > 0 {
			return fmt.Errorf("there are directories %v, %v", left, err)
		}
		if links := sh(t, "ip", "-o", "link", "show", "type", "veth"); links != "" {
			return fmt.Errorf("there are links %s", links)
		}
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil || strings.Contains(string(mounts), n.run()+"/networks") {
			return fmt.Errorf("something is mounted: %s, %v", mounts, err)
		}
		return nil
	})
	if exec.Command("nft", "list", "table", "inet", "pando").Run() == nil {
		if m := sh(t, "nft", "list", "map", "inet", "pando", "pando0-ports4"); strings.Contains(m, "elements") {
			t.Errorf("ports are mapped: %s", m)
		}
	}
}

const web = `echo "$WORD" > index.html; exec busybox httpd -f -p 8080`

// saying is a web server that says a word.
func saying(id, word string) *mesosv1.TaskInfo {
	x := task(id, web)
	x.Command.Environment.Variables = append(x.Command.Environment.Variables, &mesosv1.Environment_Variable{Name: new("WORD"), Value: &word})
	return x
}

func TestATaskOnTheBridgeIsReachedAtItsPortsUntilItEnds(t *testing.T) {
	if apart(t) {
		return
	}
	n := bridgeNode(t)
	if links := sh(t, "ip", "-o", "link"); strings.Contains(links, "pando0") {
		t.Errorf("a bridge is there before a task wants it: %s", links)
	}
	f := subscribe(t, n.master)
	x := onNetworks(saying("web", "one"), []string{"mesos-bridge"}, 31000, 8080)
	x.HealthCheck = &mesosv1.HealthCheck{
		Type: mesosv1.HealthCheck_HTTP.Enum(), Http: &mesosv1.HealthCheck_HTTPCheckInfo{Port: new(uint32(8080)), Path: new("/")}, // of its own loopback
		DelaySeconds: new(0.0), IntervalSeconds: new(0.1),
	}
	f.launch(x)
	f.until("a healthy task", func() bool {
		for _, s := range f.statuses["web"] {
			if s.GetHealthy() {
				return true
			}
		}
		return false
	})
	s := f.await("web", running)
	at := addressOf(s)
	if name := s.GetContainerStatus().GetNetworkInfos()[0].GetName(); name != "mesos-bridge" || !strings.HasPrefix(at, "172.31.25") {
		t.Fatalf("it is on %q at %q", name, at)
	}
	mustSay(t, "http://"+at+":8080/", "one")
	mustSay(t, "http://127.0.0.1:31000/", "one")

	if code, said := outcome(t, n.pando("task", "show", "web")); code != 0 || !strings.Contains(said, "mesos-bridge "+at+", 31000 -> 8080/tcp") {
		t.Errorf("it is shown as %s", said)
	}
	if said, err := says(t, "http://"+n.agent+"/containers"); err != nil || !strings.Contains(said, `"network_infos":[{"`) || !strings.Contains(said, at) {
		t.Errorf("its agent shows %s, %v", said, err)
	}

	// Another task on the bridge, without an image as well: its own names, a way to the first by address and by the machine's port.
	y := onNetworks(task("client", `hostname; grep -c "$MESOS_CONTAINER_IP.*$(hostname)" /etc/hosts; cat /etc/hostname; busybox wget -qO- http://`+at+`:8080/; busybox wget -qO- http://172.31.252.1:31000/`), []string{"mesos-bridge"})
	y.Container.Hostname = new("client.test")
	f.launch(y)
	if e := f.end("client"); e.GetState() != finished {
		t.Fatalf("the client ended as %v", e)
	}
	out, err := os.ReadFile(filepath.Join(sandboxOf(t, n, f, "client"), "stdout"))
	if err != nil || string(out) != "client.test\n1\nclient.test\none\none\n" {
		t.Errorf("the client says %q, %v", out, err)
	}
	if b, err := os.ReadFile("/etc/hosts"); err != nil || strings.Contains(string(b), "client.test") {
		t.Errorf("the machine's own names are %q, %v", b, err)
	}

	// The agent dies and comes back: the task is reached meanwhile, and every status still says where.
	must(t, n.cmd.Process.Kill())
	n.ended()
	mustSay(t, "http://127.0.0.1:31000/", "one")
	n.start()
	mustSay(t, "http://127.0.0.1:31000/", "one")
	if e := f.killed("web"); addressOf(e) != at {
		t.Errorf("its end is told of %q", addressOf(e))
	}

	// Its end frees the port: whoever gets it next has it.
	for i := range 3 {
		id := fmt.Sprint("next", i)
		f.launch(onNetworks(saying(id, id), []string{"mesos-bridge"}, 31000, 8080))
		mustSay(t, "http://127.0.0.1:31000/", id)
		f.killed(id)
	}
	nothingOfNetworks(t, n)
}

func TestWhatEndsWhileItsAgentIsAwayLeavesItsNetworks(t *testing.T) {
	if apart(t) {
		return
	}
	n := bridgeNode(t)
	f := subscribe(t, n.master)
	f.launch(onNetworks(task("ends", `while [ ! -e go ]; do sleep 0.05; done`), []string{"mesos-bridge"}, 31000, 80))
	at, box := addressOf(f.await("ends", running)), sandboxOf(t, n, f, "ends")
	must(t, n.cmd.Process.Kill())
	n.ended()
	must(t, os.WriteFile(filepath.Join(box, "go"), nil, 0o644))
	noTaskProcesses(t)
	n.start()
	if e := f.end("ends"); e.GetState() != finished || addressOf(e) != at {
		t.Errorf("it ended as %v", e)
	}
	nothingOfNetworks(t, n)
}

func TestAContainerOfDockersTypeIsOnTheBridge(t *testing.T) {
	if apart(t) {
		return
	}
	s := newShelf(t)
	n := bridgeNode(t, "--plain-registries", s.host, "--bridge-subnet", "10.99.0.0/24", "--bridge-subnet6", "fd00:99::/64")
	f := subscribe(t, n.master)
	x := inImage(saying("web", "docker"), s.push("app:1", v1.Config{}))
	x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_DOCKER.Enum(), Docker: &mesosv1.ContainerInfo_DockerInfo{
		Image: x.Container.Mesos.Image.Docker.Name, Network: mesosv1.ContainerInfo_DockerInfo_BRIDGE.Enum(),
		PortMappings: []*mesosv1.ContainerInfo_DockerInfo_PortMapping{{HostPort: new(uint32(31005)), ContainerPort: new(uint32(8080))}},
		Parameters:   []*mesosv1.Parameter{{Key: new("add-host"), Value: new("db:10.0.0.9")}},
	}}
	x.Command.Value = new("cd $MESOS_SANDBOX; cat /etc/hosts > hosts; cat /etc/hostname; hostname; " + web)
	holding(x, 31005)
	f.launch(x)
	st := f.await("web", running)
	mustSay(t, "http://127.0.0.1:31005/", "docker")
	mustSay(t, "http://10.99.0.2:8080/", "docker")
	mustSay(t, "http://[fd00:99::2]:8080/", "docker")
	box := sandboxOf(t, n, f, "web")
	hosts, err := os.ReadFile(filepath.Join(box, "hosts"))
	id := st.GetContainerStatus().GetContainerId().GetValue()
	if want := []string{"10.99.0.2\t" + id, "10.0.0.9 db"}; err != nil || !strings.Contains(string(hosts), want[0]) || !strings.Contains(string(hosts), want[1]) {
		t.Errorf("its hosts are %q, %v; want %q among them", hosts, err, want)
	}
	eventually(t, "what it is called", func() error { return holds(filepath.Join(box, "stdout"), id+"\n"+id+"\n") })
	if code, out := outcome(t, n.pando("task", "exec", "web", "--", "busybox", "wget", "-qO-", "http://127.0.0.1:8080/")); code != 0 || strings.TrimSpace(out) != "docker" {
		t.Errorf("a command beside it: %d %q", code, out)
	}
	f.killed("web")
	nothingOfNetworks(t, n)
}

func TestTheTasksOfAPodShareItsNetwork(t *testing.T) {
	if apart(t) {
		return
	}
	n := bridgeNode(t)
	f := subscribe(t, n.master)
	server := saying("server", "pod")
	holding(server, 31000)
	client := task("client", `until busybox wget -qO- http://127.0.0.1:8080/; do sleep 0.05; done; echo $MESOS_CONTAINER_IP; while :; do sleep 0.1; done`)
	pod := f.pod()
	pod.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), NetworkInfos: []*mesosv1.NetworkInfo{{
		Name: new("mesos-bridge"), PortMappings: []*mesosv1.NetworkInfo_PortMapping{{HostPort: new(uint32(31000)), ContainerPort: new(uint32(8080))}},
	}}}
	must(t, f.acceptGroupOf(pod, server, client))
	mustSay(t, "http://127.0.0.1:31000/", "pod")
	at := addressOf(f.await("server", running))
	if b := addressOf(f.await("client", running)); at == "" || at != b || !strings.HasPrefix(at, "172.31.") {
		t.Errorf("they are at %q and %q", at, b)
	}
	must(t, n.cmd.Process.Kill())
	n.ended()
	n.start()
	mustSay(t, "http://127.0.0.1:31000/", "pod")
	for _, id := range []string{"server", "client"} {
		if e := f.killed(id); addressOf(e) != at {
			t.Errorf("%s ended at %q: %v", id, addressOf(e), e)
		}
	}
	nothingOfNetworks(t, n)
}

// cniDirs makes a directory of networks of Debian's plugins, and gives the flags by which an agent has them.
func cniDirs(t *testing.T) (dir string, args []string) {
	t.Helper()
	const plugins = "/usr/lib/cni"
	if _, err := os.Stat(plugins + "/bridge"); err != nil {
		t.Skip("SKIP: needs Debian's containernetworking-plugins")
	}
	dir = t.TempDir()
	describe := func(name string, about map[string]any) {
		b, err := json.Marshal(about)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o644))
	}
	network := func(name, bridge, subnet string) map[string]any {
		return map[string]any{"cniVersion": "1.0.0", "name": name, "plugins": []map[string]any{
			{"type": "bridge", "bridge": bridge, "isGateway": true, "ipMasq": true, "ipam": map[string]any{
				"type": "host-local", "dataDir": filepath.Join(dir, "leases"), "ranges": [][]map[string]any{{{"subnet": subnet}}},
				"routes": []map[string]any{{"dst": "0.0.0.0/0"}},
			}, "dns": map[string]any{"nameservers": []string{"10.9.9.9"}, "search": []string{"corp.test"}}},
			{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		}}
	}
	describe("a.conflist", network("red", "br-red", "10.50.0.0/24"))
	second := network("blue", "br-blue", "10.60.0.0/24")
	for _, p := range second["plugins"].([]map[string]any)[:1] { // one way out of a container is enough
		delete(p["ipam"].(map[string]any), "routes")
	}
	describe("b.conflist", second)
	describe("broken.conflist", map[string]any{"cniVersion": "1.0.0", "name": "broken", "plugins": []map[string]any{{"type": "no-such-plugin"}}})
	return dir, []string{"--cni-config-dir", dir, "--cni-plugins-dir", "/nowhere:" + plugins}
}

func TestATaskJoinsNetworksOfPlugins(t *testing.T) {
	if apart(t) {
		return
	}
	dir, args := cniDirs(t)
	n := bridgeNode(t, args...)
	f := subscribe(t, n.master)
	x := onNetworks(saying("web", "cni"), []string{"red", "blue"}, 31010, 8080)
	x.Command.Value = new("cat /etc/resolv.conf; ip -4 -o addr show | grep -c 'eth[01]'; " + web)
	f.launch(x)
	infos := f.await("web", running).GetContainerStatus().GetNetworkInfos()
	if len(infos) != 2 || infos[0].GetName() != "red" || infos[0].GetIpAddresses()[0].GetIpAddress() != "10.50.0.2" || infos[1].GetIpAddresses()[0].GetIpAddress() != "10.60.0.2" {
		t.Errorf("it is at %v", infos)
	}
	for _, url := range []string{"http://10.50.0.2:8080/", "http://10.60.0.2:8080/", "http://127.0.0.1:31010/"} {
		mustSay(t, url, "cni")
	}
	eventually(t, "its names", func() error {
		out, err := os.ReadFile(filepath.Join(sandboxOf(t, n, f, "web"), "stdout"))
		if err != nil || string(out) != "search corp.test\nnameserver 10.9.9.9\n2\n" {
			return fmt.Errorf("it says %q, %v", out, err)
		}
		return nil
	})
	must(t, n.cmd.Process.Kill())
	n.ended()
	n.start()
	mustSay(t, "http://10.50.0.2:8080/", "cni")
	f.killed("web")
	nothingOfNetworks(t, n)
	if left, err := filepath.Glob(filepath.Join(dir, "leases/*/10.*")); err != nil || len(left) > 0 {
		t.Errorf("addresses are still given: %v, %v", left, err)
	}
}

func TestANetworkThatCannotBeHadFailsTheTaskAndSaysWhatToDo(t *testing.T) {
	if apart(t) {
		return
	}
	_, args := cniDirs(t)
	n := bridgeNode(t, args...)
	f := subscribe(t, n.master)
	unheld := onNetworks(task("unheld", "true"), []string{"mesos-bridge"}, 31000, 80)
	unheld.Resources = unheld.Resources[:2]
	twice := onNetworks(task("twice", "true"), []string{"mesos-bridge"}, 31020, 80, 31020, 81)
	twice.Resources = twice.Resources[:3]
	first := onNetworks(task("first", "sleep 1000"), []string{"mesos-bridge"}, 31030, 80)
	f.launch(first)
	for _, c := range []struct {
		x    *mesosv1.TaskInfo
		says []string
	}{
		{onNetworks(task("unknown", "true"), []string{"green"}), []string{`container.network_infos[0].name: there is no network "green"`, "blue, broken, mesos-bridge, red"}},
		{onNetworks(task("broken", "true"), []string{"red", "broken"}), []string{`network "broken"`, `there is no program for plugin "no-such-plugin"`}},
		{unheld, []string{"container.network_infos[0].port_mappings[0].host_port: 31000 is not among the ports of the task's resources"}},
		{twice, []string{"31020/tcp is mapped by network_infos[0].port_mappings[0] already"}},
		{onNetworks(task("again", "true"), []string{"red", "red"}), []string{"network_infos[1].name", "joins a network once"}},
		{onNetworks(task("both", "true"), []string{"none", "red"}), []string{"network_infos[0].name: none means no network at all"}},
	} {
		id := c.x.GetTaskId().GetValue()
		must(t, f.accept(c.x))
		e := f.end(id)
		for _, words := range c.says {
			if e.GetState() != mesosv1.TaskState_TASK_FAILED || e.GetReason() != mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED || !strings.Contains(e.GetMessage(), words) {
				t.Errorf("%s: %s %s %q lacks %q", id, e.GetState(), e.GetReason(), e.GetMessage(), words)
			}
		}
	}
	f.launch(onNetworks(task("apart", `test "$(ip -o link | wc -l)" = 1 && sleep 1000`), []string{"none"}))
	for _, id := range []string{"first", "apart"} {
		f.killed(id)
	}
	nothingOfNetworks(t, n)
}

func TestContainersByCallAreInTheNetworksOfTheOneTheyAreBelowOrInTheirOwn(t *testing.T) {
	if apart(t) {
		return
	}
	need(t, true)
	shelf := newShelf(t)
	image := shelf.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	n := newNode(t, "up", "--plain-registries", shelf.host)
	n.start()
	s := scopeOn(t, n, true, onNetworks(saying("top", "below"), []string{"mesos-bridge"}))
	launch := func(id *mesosv1.ContainerID, script string, infos ...*mesosv1.NetworkInfo) error {
		_, err := s.api.Call(t.Context(), &agent.Call{Type: agent.Call_LAUNCH_CONTAINER.Enum(), LaunchContainer: &agent.Call_LaunchContainer{
			ContainerId: id, Command: shell(id.GetValue(), script), Resources: resourcesOf(id),
			Container: &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), NetworkInfos: infos},
		}})
		return err
	}
	at := addressOf(s.f.await("top", running))
	must(t, launch(s.kid("kid"), `test "$MESOS_CONTAINER_IP" = `+at+` && test "$(busybox wget -qO- http://127.0.0.1:8080/)" = below`))
	if status := s.waited("kid"); status != 0 {
		t.Errorf("a container below it: %#x", status)
	}
	out := s.session("talk", `busybox wget -qO- http://127.0.0.1:8080/`)
	var said, complained strings.Builder
	if err := out.Copy(&said, &complained); err != nil || said.String() != "below\n" {
		t.Errorf("a session: %q, %q, %v", said.String(), complained.String(), err)
	}
	if err := launch(s.kid("own"), "true", &mesosv1.NetworkInfo{Name: new("none")}); err == nil || !strings.Contains(err.Error(), "has the other's networks") {
		t.Errorf("networks of a container below another: %v", err)
	}
	alone := &mesosv1.ContainerID{Value: new("alone")}
	if err := launch(alone, "true", &mesosv1.NetworkInfo{Name: new("green")}); err == nil || !strings.Contains(err.Error(), `no network "green"`) {
		t.Errorf("an unknown network: %v", err)
	}
	must(t, launch(alone, `test "$MESOS_CONTAINER_IP" != `+at+` && test "$(busybox wget -qO- http://`+at+`:8080/)" = below && while [ ! -e go ]; do sleep 0.05; done`, &mesosv1.NetworkInfo{Name: new("mesos-bridge")}))
	must(t, os.WriteFile(filepath.Join(s.data(), "agent/containers/alone/go"), nil, 0o644))
	if status, err := s.api.Wait(t.Context(), alone); status != 0 || err != nil {
		t.Errorf("one that stands alone: %#x, %v", status, err)
	}
	must(t, s.api.Remove(t.Context(), alone))

	// With images it is the same, however deep.
	of := func(top string) string {
		return `test "$MESOS_CONTAINER_IP" = ` + top + ` && grep -q "^` + top + `" /etc/hosts`
	}
	must(t, s.launchBox(s.kid("boxed"), of(at)+" && exec sleep 1000", boxed(image)))
	for name, c := range map[string]*mesosv1.ContainerInfo{"deep": nil, "deeper": boxed(image)} {
		id := below(s.kid("boxed"), name)
		must(t, s.launchBox(id, of(at), c))
		if status, err := s.api.Wait(t.Context(), id); status != 0 || err != nil {
			t.Errorf("%s is in another network: %#x, %v", name, status, err)
		}
	}
	own := boxed(image)
	own.NetworkInfos = []*mesosv1.NetworkInfo{{Name: new("mesos-bridge")}}
	must(t, s.launchBox(alone, "exec sleep 1000", own))
	r, err := s.api.Call(t.Context(), &agent.Call{Type: agent.Call_GET_CONTAINERS.Enum(), GetContainers: &agent.Call_GetContainers{ShowStandalone: new(true), ShowNested: new(true)}})
	must(t, err)
	shown := map[string]string{}
	for _, c := range r.GetGetContainers().GetContainers() {
		for _, i := range c.GetContainerStatus().GetNetworkInfos() {
			shown[c.GetContainerId().GetValue()] = i.GetIpAddresses()[0].GetIpAddress()
		}
	}
	its := shown["alone"]
	if shown["boxed"] != at || its == at || its == "" {
		t.Errorf("the addresses that are shown are %v, that of the task is %s", shown, at)
	}
	id := below(alone, "deep")
	must(t, s.launchBox(id, of(its), boxed(image)))
	if status, err := s.api.Wait(t.Context(), id); status != 0 || err != nil {
		t.Errorf("one below what stands alone is in another network: %#x, %v", status, err)
	}
	must(t, s.api.Kill(t.Context(), alone, 0))
	_, err = s.api.Wait(t.Context(), alone)
	must(t, err)
	must(t, s.api.Remove(t.Context(), alone))
	s.f.killed("top")
	nothingOfNetworks(t, s.node)
}

// resourcesOf are what a container by call has that is below no other.
func resourcesOf(id *mesosv1.ContainerID) []*mesosv1.Resource {
	if id.GetParent() != nil {
		return nil
	}
	return task("x", "").GetResources()
}
