package networked

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/network"
	"github.com/pando-os/pando/internal/network/bridge"
	"github.com/pando-os/pando/internal/network/cni"
	"github.com/pando-os/pando/internal/network/networktest"
	"github.com/pando-os/pando/mesos/resource"
)

func TestMain(m *testing.M) { networktest.Main(m) }

// plugin joins nothing and takes nothing away, unless the file of its "stuck" is there.
const plugin = `#!/bin/sh
stuck=$(sed -n 's/.*"stuck":"\([^"]*\)".*/\1/p')
if [ "$CNI_COMMAND" = DEL ]; then [ ! -e "$stuck" ]; exit; fi
echo '{"cniVersion":"1.0.0","ips":[{"address":"10.3.0.5/24"}]}'
`

// estate is a machine of a test's own with a keeper.
type estate struct {
	*Keeper
	t   *testing.T
	cfg Config
	dir string
}

func newEstate(t *testing.T) *estate {
	t.Helper()
	networktest.Machine(t)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"plugins/odd": plugin, "conf/odd.conflist": fmt.Sprintf(`{"cniVersion":"1.0.0","name":"odd","plugins":[{"type":"odd","stuck":%q}]}`, filepath.Join(dir, "stuck")),
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	e := &estate{t: t, dir: dir, cfg: Config{
		Dir: networktest.Memory(t), Bridge: bridge.Config{Name: "brk", Subnet: netip.MustParsePrefix("10.77.0.0/24")},
		CNI: &cni.CNI{ConfDir: filepath.Join(dir, "conf"), PluginDirs: []string{filepath.Join(dir, "plugins")}, CacheDir: filepath.Join(dir, "cache")},
		Log: slog.New(slog.DiscardHandler),
	}}
	e.again()
	t.Cleanup(func() {
		e.Found(context.Background(), nil)
		e.Close()
	})
	return e
}

// again is the next run of the agent's process.
func (e *estate) again() {
	e.t.Helper()
	e.Close()
	var err error
	if e.Keeper, err = New(e.cfg); err != nil {
		e.t.Fatal(err)
	}
}

// left lists what there is of containers.
func (e *estate) left() (all []string) {
	for _, pattern := range []string{e.cfg.Dir + "/containers/*", e.cfg.Dir + "/bridge/10.*", e.dir + "/cache/attachments/*"} {
		found, _ := filepath.Glob(pattern)
		for _, f := range found {
			all = append(all, filepath.Base(f))
		}
	}
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		e.t.Fatal(err)
	}
	for range strings.Count(string(mounts), e.cfg.Dir+"/containers/") {
		all = append(all, "a mount")
	}
	return all
}

func wants(networks ...*mesosv1.NetworkInfo) *mesosv1.ContainerInfo {
	return &mesosv1.ContainerInfo{NetworkInfos: networks}
}

func named(name string, ports ...uint32) *mesosv1.NetworkInfo {
	n := &mesosv1.NetworkInfo{Name: &name}
	for _, p := range ports {
		n.PortMappings = append(n.PortMappings, &mesosv1.NetworkInfo_PortMapping{HostPort: new(p), ContainerPort: new(p)})
	}
	return n
}

var held = []resource.Span{{Begin: 31000, End: 31010}}

func TestAContainerIsFoundInItsNetworksAfterARestart(t *testing.T) {
	e := newEstate(t)
	if p, err := e.Join(t.Context(), "plain", wants(), nil); p != nil || err != nil || e.Of("plain") != nil {
		t.Errorf("a container that asks for no network has %v, %v", p, err)
	}
	c := wants(named(Bridge, 31000), named("odd"))
	c.Hostname = new("web.test")
	p, err := e.Join(t.Context(), "a", c, held)
	if err != nil {
		t.Fatal(err)
	}
	if p.Address() != "10.77.0.2" || p.Infos[1].GetIpAddresses()[0].GetIpAddress() != "10.3.0.5" || p.Hostname != "web.test" {
		t.Errorf("it is at %v, called %q", p.Infos, p.Hostname)
	}
	if _, err := e.Join(t.Context(), "gone", wants(named(Bridge)), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Join(t.Context(), "odder", wants(named("odd")), nil); err != nil {
		t.Fatal(err)
	}
	e.again()
	for _, id := range []string{"a", "a.child", "a.child.of"} {
		if d := cmp.Diff(p, e.Of(id), protocmp.Transform()); d != "" {
			t.Errorf("%s (-want +got):\n%s", id, d)
		}
	}
	e.Found(t.Context(), []string{"a"})
	want := []string{"a", "10.77.0.2", "a@eth1", "a mount"}
	if d := cmp.Diff(want, e.left()); d != "" {
		t.Errorf("what is left (-want +got):\n%s", d)
	}
	// The address that is given next is another's than that of the one who stayed.
	if p, err := e.Join(t.Context(), "next", wants(named(Bridge)), nil); err != nil || p.Address() == "10.77.0.2" {
		t.Errorf("the next is at %v, %v", p, err)
	}
	for _, id := range []string{"a", "next", "nobody"} {
		if err := e.Leave(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if left := e.left(); len(left) > 0 {
		t.Errorf("there is left %v", left)
	}
}

func TestWhatANetworkDoesNotLetGoIsTriedAgain(t *testing.T) {
	e := newEstate(t)
	if _, err := e.Join(t.Context(), "a", wants(named(Bridge, 31000), named("odd")), held); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(e.dir, "stuck"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Leave(t.Context(), "a"); err == nil {
		t.Fatal("the plugin failed, and nobody says so")
	}
	e.Retry(t.Context())
	if d := cmp.Diff([]string{"a", "a@eth1"}, e.left()); d != "" {
		t.Errorf("what is left (-want +got):\n%s", d)
	}
	e.again()
	e.Found(t.Context(), nil) // it is not forgotten by a restart
	if left := e.left(); len(left) == 0 {
		t.Error("a restart forgot it")
	}
	if err := os.Remove(filepath.Join(e.dir, "stuck")); err != nil {
		t.Fatal(err)
	}
	e.Retry(t.Context())
	if left := e.left(); len(left) > 0 {
		t.Errorf("there is left %v", left)
	}
}

func TestAJoinThatFailsLeavesNothing(t *testing.T) {
	e := newEstate(t)
	if _, err := e.Join(t.Context(), "first", wants(named(Bridge, 31000)), held); err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		id   string
		want *mesosv1.ContainerInfo
		says string
	}{
		"a port that another has":   {t.Context(), "x", wants(named("odd"), named(Bridge, 31000)), "31000/tcp leads to container first"},
		"an unknown network":        {t.Context(), "x", wants(named("green")), `container.network_infos[0].name: there is no network "green" on this agent; it has mesos-bridge, odd`},
		"a launch that is given up": {canceled, "x", wants(named(Bridge), named("odd")), `network "odd": `},
		"an id that is no name":     {t.Context(), "a b", wants(named(Bridge)), "container_id"},
		"a name that is none":       {t.Context(), "x", &mesosv1.ContainerInfo{NetworkInfos: wants(named(Bridge)).NetworkInfos, Hostname: new("a\nb")}, "hostname"},
		"nothing and something":     {t.Context(), "x", wants(named(Bridge), named(network.None)), "none means no network at all"},
	} {
		if p, err := e.Join(c.ctx, c.id, c.want, held); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: the error is %v, and lacks %q (%v)", name, err, c.says, p)
		}
		if d := cmp.Diff([]string{"first", "10.77.0.2", "a mount"}, e.left()); d != "" {
			t.Errorf("%s: what is left (-want +got):\n%s", name, d)
		}
	}
}

func TestAnAgentWithoutNetworksSaysSo(t *testing.T) {
	var k *Keeper
	if p, err := k.Join(t.Context(), "a", wants(&mesosv1.NetworkInfo{}), nil); p != nil || err != nil {
		t.Errorf("the machine's network: %v, %v", p, err)
	}
	for _, name := range []string{Bridge, network.None} {
		if _, err := k.Join(t.Context(), "a", wants(named(name)), nil); err == nil || !strings.Contains(err.Error(), "container.network_infos: this agent has no networks") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if k.Of("a").Reported() != nil || k.Leave(t.Context(), "a") != nil {
		t.Error("a container is somewhere")
	}
	k.Found(t.Context(), nil)
	k.Retry(t.Context())
	k.Close()
	var s container.Spec
	k.Of("a").Show(&s)
	if d := cmp.Diff(container.Spec{}, s); d != "" {
		t.Errorf("a container of the machine's network is changed (-want +got):\n%s", d)
	}
}

func TestAConnectionIsMadeFromInside(t *testing.T) {
	e := newEstate(t)
	p, err := e.Join(t.Context(), "a", wants(named(network.None)), nil)
	if err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	if err := network.Do(p.NetNS, func() (err error) { l, err = net.Listen("tcp", "127.0.0.1:0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := p.Dial(ctx, "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the machine's loopback is the container's")
	}
	if err := e.Leave(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Dial(ctx, "tcp", l.Addr().String()); err == nil {
		t.Error("a container that left is reached")
	}
}
