package cni

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/network"
	"github.com/pando-os/pando/internal/network/networktest"
)

func TestMain(m *testing.M) { networktest.Main(m) }

// debian is where Debian's package containernetworking-plugins puts them.
const debian = "/usr/lib/cni"

// plugged is a CNI with Debian's plugins, in a machine of the test's own, and a network "lan" of bridge, host-local and portmap.
func plugged(tb testing.TB) (c *CNI, dir string) {
	tb.Helper()
	networktest.Machine(tb)
	for _, p := range []string{"bridge", "host-local", "portmap"} {
		if _, err := os.Stat(filepath.Join(debian, p)); err != nil {
			tb.Skip("install containernetworking-plugins: ", err)
		}
	}
	dir = tb.TempDir()
	c = &CNI{ConfDir: filepath.Join(dir, "conf"), PluginDirs: []string{debian}, CacheDir: filepath.Join(dir, "cache")}
	c.describe(tb, "lan.conflist", `{"cniVersion":"1.0.0","name":"lan","plugins":[
 {"type":"bridge","bridge":"lan0","isGateway":true,"ipMasq":true,"hairpinMode":true,"ipam":{"type":"host-local","dataDir":"`+dir+`/ipam","ranges":[[{"subnet":"10.5.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]},"dns":{"nameservers":["10.5.0.1"]}},
 {"type":"portmap","capabilities":{"portMappings":true},"snat":true}]}`)
	c.describe(tb, "mesos-bridge.json", `{"name":"mesos-bridge","type":"mesos-cni-port-mapper","excludeDevices":["ucr-br0"],"chain":"UCR-DEFAULT-BRIDGE","delegate":{
 "type":"bridge","bridge":"ucr-br0","isDefaultGateway":true,"forceAddress":true,"ipMasq":true,"hairpinMode":true,"ipam":{"type":"host-local","dataDir":"`+dir+`/ipam","subnet":"172.31.254.0/24"}}}`)
	return c, networktest.Memory(tb)
}

// rules are the machine's links, and its rules without the chains that plugins leave empty for the next container.
func rules(tb testing.TB) string {
	tb.Helper()
	return networktest.Run(tb, "sh", "-c", "ip -br link | grep -v bridge | awk '$1 ~ /^veth/ {print $1}'; iptables-save -t nat 2>/dev/null | grep -e 10.5.0 -e 172.31.254 -e 31000 || true")
}

func TestDebiansPluginsJoinAContainerAndLetItGo(t *testing.T) {
	for name, want := range map[string]string{"lan": "10.5.0.2/24 by 10.5.0.1", "mesos-bridge": "172.31.254.2/24 by 172.31.254.1"} {
		t.Run(name, func(t *testing.T) {
			c, dir := plugged(t)
			netns := filepath.Join(dir, "box")
			if err := network.Make(netns); err != nil {
				t.Fatal(err)
			}
			defer network.Remove(netns)
			before := rules(t)
			got, err := c.Add(t.Context(), "box", netns, name, Args{Interface: "eth0", Ports: []network.Port{{Host: 31000, Container: 80}}})
			if err != nil {
				t.Fatal(err)
			}
			if text := fmt.Sprintf("%s by %s", got.Addresses[0], got.Gateways[0]); text != want || len(got.Addresses) != 1 {
				t.Errorf("%s; want %s", text, want)
			}
			var l net.Listener
			if err := network.Do(netns, func() (err error) { l, err = net.Listen("tcp", ":80"); return err }); err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				if c, err := l.Accept(); err == nil {
					io.WriteString(c, "here")
					c.Close()
				}
			}()
			conn, err := net.DialTimeout("tcp", strings.Replace(got.Gateways[0].String(), "/24", "", 1)+":31000", 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if text, err := io.ReadAll(conn); err != nil || string(text) != "here" {
				t.Errorf("the mapped port answers %q: %v", text, err)
			}
			for range 2 {
				if err := c.Del(t.Context(), "box", "eth0"); err != nil {
					t.Error(err)
				}
			}
			if diff := cmp.Diff(before, rules(t)); diff != "" {
				t.Error(diff)
			}
			if addresses, _ := filepath.Glob(filepath.Join(filepath.Dir(c.CacheDir), "ipam", name, "[0-9]*")); len(addresses) != 0 {
				t.Errorf("addresses are left: %v", addresses)
			}
		})
	}
}

func TestDebiansPluginsSeeThatAContainerLostItsAddress(t *testing.T) {
	c, dir := plugged(t)
	netns := filepath.Join(dir, "box")
	if err := network.Make(netns); err != nil {
		t.Fatal(err)
	}
	defer network.Remove(netns)
	// Without ports: portmap 1.1.1 asks for rules of IPv6 that it did not make.
	if _, err := c.Add(t.Context(), "box", netns, "lan", Args{Interface: "eth0"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(t.Context(), "box", "eth0"); err != nil {
		t.Error(err)
	}
	networktest.Run(t, "nsenter", "--net="+netns, "ip", "addr", "flush", "dev", "eth0")
	if err := c.Check(t.Context(), "box", "eth0"); err == nil {
		t.Error("a container without its address is taken to be right")
	}
	if err := c.Del(t.Context(), "box", "eth0"); err != nil {
		t.Error(err)
	}
}

func TestDebiansPluginsAreToldThatANamespaceIsGone(t *testing.T) {
	c, dir := plugged(t)
	netns := filepath.Join(dir, "box")
	if err := network.Make(netns); err != nil {
		t.Fatal(err)
	}
	before := rules(t)
	if _, err := c.Add(t.Context(), "box", netns, "lan", Args{Interface: "eth0", Ports: []network.Port{{Host: 31000, Container: 80}}}); err != nil {
		t.Fatal(err)
	}
	if err := network.Remove(netns); err != nil {
		t.Fatal(err)
	}
	if removed, err := c.Sweep(t.Context(), nil); err != nil || len(removed) != 1 {
		t.Errorf("%v: %v", removed, err)
	}
	// The bridge plugin 1.1.1 looks into the namespace for the address whose masquerade it takes away, and so leaves that.
	if left := rules(t); strings.Contains(left, "31000") {
		t.Error(cmp.Diff(before, left))
	}
	if addresses, _ := filepath.Glob(filepath.Join(filepath.Dir(c.CacheDir), "ipam", "lan", "[0-9]*")); len(addresses) != 0 {
		t.Errorf("addresses are left: %v", addresses)
	}
}

func TestDebiansPluginsLeaveNothingWhereTheSecondFails(t *testing.T) {
	c, dir := plugged(t)
	netns := filepath.Join(dir, "box")
	if err := network.Make(netns); err != nil {
		t.Fatal(err)
	}
	defer network.Remove(netns)
	c.describe(t, "lan.conflist", strings.Replace(string(c.text(t, "lan.conflist")), `"type":"portmap"`, `"type":"absent"`, 1))
	before := rules(t)
	if _, err := c.Add(t.Context(), "box", netns, "lan", Args{Interface: "eth0"}); err == nil || !strings.Contains(err.Error(), `no program for plugin "absent"`) {
		t.Error(err)
	}
	if diff := cmp.Diff(before, rules(t)); diff != "" {
		t.Error(diff)
	}
	if addresses, _ := filepath.Glob(filepath.Join(filepath.Dir(c.CacheDir), "ipam", "lan", "[0-9]*")); len(addresses) != 0 {
		t.Errorf("addresses are left: %v", addresses)
	}
}

func (c *CNI) text(tb testing.TB, file string) []byte {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(c.ConfDir, file))
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// BenchmarkANetworkMadeAndRemoved is the peer of the built-in bridge's, one container after the other.
func BenchmarkANetworkMadeAndRemoved(b *testing.B) {
	c, dir := plugged(b)
	netns := filepath.Join(dir, "box")
	var made, removed time.Duration
	for b.Loop() {
		start := time.Now()
		if err := network.Make(netns); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Add(b.Context(), "box", netns, "lan", Args{Interface: "eth0", Ports: []network.Port{{Host: 31000, Container: 80}}}); err != nil {
			b.Fatal(err)
		}
		made += time.Since(start)
		start = time.Now()
		if err := c.Del(b.Context(), "box", "eth0"); err != nil {
			b.Fatal(err)
		}
		if err := network.Remove(netns); err != nil {
			b.Fatal(err)
		}
		removed += time.Since(start)
	}
	b.ReportMetric(float64(made)/float64(b.N)/1e6, "ms/made")
	b.ReportMetric(float64(removed)/float64(b.N)/1e6, "ms/removed")
	b.ReportMetric(float64(made+removed)/float64(b.N)/1e6, "ms/container")
}
