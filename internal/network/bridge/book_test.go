package bridge

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/network"
)

func opened(tb testing.TB, dir, subnet, subnet6 string) *book {
	tb.Helper()
	cfg := &Config{Name: "pando0", Subnet: netip.MustParsePrefix(subnet), Dir: dir}
	if subnet6 != "" {
		cfg.Subnet6 = netip.MustParsePrefix(subnet6)
	}
	b, err := openBook(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestAnAddressIsNeverGivenTwiceWhateverCrashes(t *testing.T) {
	rounds := 0
	rapid.Check(t, func(rt *rapid.T) {
		dir := filepath.Join(t.TempDir(), fmt.Sprint(rounds))
		if err := os.Mkdir(dir, 0o700); err != nil {
			rt.Fatal(err)
		}
		rounds++
		b := opened(t, dir, "10.1.0.0/28", "fd00::/64")
		has := map[string]netip.Addr{}
		for n := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			id := fmt.Sprint("c", rapid.IntRange(0, 20).Draw(rt, "container"))
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0, 1:
				r, err := b.take(id, nil)
				_, there := has[id]
				if want := there || len(has) == 13; want != (err != nil) {
					rt.Fatalf("step %d: %s is taken beside %v: %v", n, id, has, err)
				}
				if err == nil {
					for other, a := range has {
						if a == r.Address {
							rt.Fatalf("step %d: %s gets %s, which is %s's", n, id, a, other)
						}
					}
					has[id] = r.Address
				}
			case 2:
				if r := b.containers[id]; r != nil {
					if err := b.drop(r); err != nil {
						rt.Fatal(err)
					}
					delete(has, id)
				}
			case 3: // a crash, in the middle of writing one more
				os.WriteFile(filepath.Join(dir, "10.1.0.14.new"), []byte("{"), 0o600)
				b = opened(t, dir, "10.1.0.0/28", "fd00::/64")
			}
			for id, a := range has {
				if r := b.containers[id]; r == nil || r.Address != a || !b.cfg.Subnet.Contains(a) || a == b.cfg.Gateway() || a == b.cfg.Subnet.Addr() || a == netip.MustParseAddr("10.1.0.15") {
					rt.Fatalf("step %d: %s should have %s, and has %v", n, id, a, r)
				}
			}
		}
	})
}

func TestAnAddressRestsAsLongAsItCan(t *testing.T) {
	b := opened(t, t.TempDir(), "10.1.0.0/29", "")
	var got []string
	for n := range 8 {
		r, err := b.take(fmt.Sprint(n), nil)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Address.String())
		b.drop(r)
	}
	want := "10.1.0.2 10.1.0.3 10.1.0.4 10.1.0.5 10.1.0.6 10.1.0.2 10.1.0.3 10.1.0.4"
	if strings.Join(got, " ") != want {
		t.Errorf("%v; want %s", got, want)
	}
}

func TestAFullSubnetSaysWhatToDo(t *testing.T) {
	b := opened(t, t.TempDir(), "10.1.0.0/30", "")
	if _, err := b.take("a", nil); err != nil {
		t.Fatal(err)
	}
	_, err := b.take("b", nil)
	const want = "subnet: 10.1.0.0/30 of bridge pando0 is full, 1 containers have its addresses; wait until one ends, or give the bridge a larger subnet"
	if !fault.Is(err, fault.Busy) || err.Error() != want {
		t.Error(err)
	}
	wide := opened(t, t.TempDir(), "10.1.0.0/16", "")
	for n := range maxContainers {
		if _, err := wide.take(fmt.Sprint(n), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := wide.take("one more", nil); !fault.Is(err, fault.Busy) || !strings.Contains(err.Error(), "Linux takes no more") {
		t.Error(err)
	}
}

func TestAnotherProcessThatHasAnAddressIsNoticed(t *testing.T) {
	dir := t.TempDir()
	one, two := opened(t, dir, "10.1.0.0/24", ""), opened(t, dir, "10.1.0.0/24", "")
	if _, err := one.take("a", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := two.take("b", nil); !os.IsExist(err) && (err == nil || !strings.Contains(err.Error(), "file exists")) {
		t.Errorf("the same address: %v", err)
	}
}

func TestARecordOfVersion1IsRead(t *testing.T) {
	text, err := os.ReadFile("testdata/record-1.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseRecord(text)
	want := &record{
		Version: 1, Container: "5d1c9a0e-1", Address: netip.MustParseAddr("172.31.254.2"), Address6: netip.MustParseAddr("fd00:7061::2"),
		Link: "pv0123456789ab", Ports: []port{{31000, 80, "tcp"}, {31000, 53, "udp"}},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	dir := t.TempDir()
	b := opened(t, dir, "172.31.254.0/24", "fd00:7061::/64")
	if _, err := b.take("5d1c9a0e-1", []network.Port{{Host: 31000, Container: 80}, {Host: 31000, Container: 53, Protocol: network.UDP}}); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(filepath.Join(dir, "172.31.254.2"))
	if again := strings.Replace(string(written), linkName("pando0", "5d1c9a0e-1"), "pv0123456789ab", 1); err != nil || again != strings.TrimSpace(string(text)) {
		t.Errorf("written as %s", again)
	}
}

func FuzzParseRecord(f *testing.F) {
	if text, err := os.ReadFile("testdata/record-1.json"); err == nil {
		f.Add(text)
	}
	f.Add([]byte(`{"version":1,"container":"a","address":"::","link":"pv"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, err := parseRecord(text); err == nil {
			if network.CheckID(r.Container) != nil || !r.Address.Is4() {
				t.Errorf("%+v", r)
			}
			for _, p := range r.Ports {
				p.value()
			}
		}
	})
}

func TestWhatIsNoBridgeIsRefusedByField(t *testing.T) {
	good := Config{Name: "pando0", Subnet: netip.MustParsePrefix("172.31.254.0/24"), Dir: "d"}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	prefix := netip.MustParsePrefix
	for _, c := range []struct {
		field  string
		change func(*Config)
	}{
		{"name", func(c *Config) { c.Name = "" }},
		{"name", func(c *Config) { c.Name = "0pando" }},
		{"name", func(c *Config) { c.Name = "a/b" }},
		{"name", func(c *Config) { c.Name = "pando-is-too-long" }},
		{"subnet", func(c *Config) { c.Subnet = netip.Prefix{} }},
		{"subnet", func(c *Config) { c.Subnet = prefix("172.31.254.1/24") }},
		{"subnet", func(c *Config) { c.Subnet = prefix("10.0.0.0/8") }},
		{"subnet", func(c *Config) { c.Subnet = prefix("10.0.0.0/31") }},
		{"subnet", func(c *Config) { c.Subnet = prefix("127.0.0.0/16") }},
		{"subnet", func(c *Config) { c.Subnet = prefix("fd00::/64") }},
		{"subnet6", func(c *Config) { c.Subnet6 = prefix("10.0.0.0/24") }},
		{"subnet6", func(c *Config) { c.Subnet6 = prefix("fd00::/120") }},
		{"subnet6", func(c *Config) { c.Subnet6 = prefix("fd00::1/64") }},
		{"subnet6", func(c *Config) { c.Subnet6 = prefix("fe80::/64") }},
		{"mtu", func(c *Config) { c.MTU = 100 }},
		{"mtu", func(c *Config) { c.MTU, c.Subnet6 = 1000, prefix("fd00::/64") }},
		{"dir", func(c *Config) { c.Dir = "" }},
	} {
		bad := good
		c.change(&bad)
		if err := bad.Check(); !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), c.field+": ") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestASubnetMustNotHideWhatTheMachineReaches(t *testing.T) {
	subnet, prefix := netip.MustParsePrefix("172.31.254.0/24"), netip.MustParsePrefix
	for _, c := range []struct {
		name  string
		route route
		hides bool
	}{
		{"a link of its own that is wider", route{prefix("172.31.240.0/20"), "eth0", true}, true},
		{"a link of its own within", route{prefix("172.31.254.128/25"), "eth0", true}, true},
		{"a router that leads to just this", route{prefix("172.31.254.0/24"), "tun0", false}, true},
		{"a router that leads to more", route{prefix("172.16.0.0/12"), "tun0", false}, false},
		{"the way to everywhere", route{prefix("0.0.0.0/0"), "eth0", true}, false},
		{"somewhere else", route{prefix("10.0.0.0/8"), "eth0", true}, false},
		{"the other family", route{prefix("::/1"), "eth0", true}, false},
	} {
		if err := collides(subnet, []route{c.route}); (err != nil) != c.hides {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
