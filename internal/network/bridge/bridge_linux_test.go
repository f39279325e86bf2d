package bridge

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/network"
	"github.com/pando-os/pando/internal/network/networktest"
)

func TestMain(m *testing.M) { networktest.Main(m) }

// world is a machine with a bridge, whose namespace the test's goroutine is in, and beside it a neighbour on the same wire: the machine
// is 10.9.0.1 and fd09::1, the neighbour 10.9.0.2 and fd09::2, with a route to the bridge's subnets through the machine.
type world struct {
	*Bridge
	cfg       Config
	dir       string // of namespaces
	neighbour string
}

func machine(tb testing.TB) *world {
	tb.Helper()
	networktest.Machine(tb)
	w := &world{dir: networktest.Memory(tb), cfg: Config{
		Name: "pando0", Subnet: netip.MustParsePrefix("172.31.254.0/24"), Subnet6: netip.MustParsePrefix("fd00:7061::/64"), Dir: filepath.Join(tb.TempDir(), "pando0"),
	}}
	w.neighbour = w.namespace(tb, "neighbour")
	ip := func(args string) { networktest.Run(tb, "ip", strings.Fields(args)...) }
	ip("link add wire type veth peer name wire netns " + w.neighbour)
	up := "ip addr add 10.9.0.%[1]d/24 dev wire && ip addr add fd09::%[1]d/64 dev wire nodad && ip link set wire up"
	networktest.Run(tb, "sh", "-c", fmt.Sprintf(up, 1))
	networktest.Run(tb, "nsenter", "--net="+w.neighbour, "sh", "-c", fmt.Sprintf(up, 2)+" && ip route add 172.31.254.0/24 via 10.9.0.1 && ip route add fd00:7061::/64 via fd09::1")
	w.open(tb)
	return w
}

func (w *world) open(tb testing.TB) {
	tb.Helper()
	b, err := Open(w.cfg)
	if err != nil {
		tb.Fatal(err)
	}
	w.Bridge = b
	tb.Cleanup(b.Close)
}

func (w *world) namespace(tb testing.TB, name string) string {
	tb.Helper()
	path := filepath.Join(w.dir, name)
	if err := network.Make(path); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { network.Remove(path) })
	return path
}

// container adds one with a namespace of its own.
func (w *world) container(tb testing.TB, id string, ports ...network.Port) (netns string, got network.Result) {
	tb.Helper()
	netns = w.namespace(tb, id)
	got, err := w.Add(id, netns, Want{Interface: "eth0", Default: true, Ports: ports})
	if err != nil {
		tb.Fatal(err)
	}
	return netns, got
}

// serve answers each connection and datagram at a port in a namespace with a name and who it came from: "NAME HOST".
func serve(tb testing.TB, netns, name string, port int) {
	tb.Helper()
	err := network.Do(netns, func() error {
		l, err := net.Listen("tcp", fmt.Sprint(":", port))
		if err != nil {
			return err
		}
		tb.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				io.ReadFull(c, make([]byte, 4)) // what is unread would reset the connection
				fmt.Fprint(c, name, " ", host(c.RemoteAddr()))
				c.Close()
			}
		}()
		p, err := net.ListenPacket("udp", fmt.Sprint(":", port))
		if err != nil {
			return err
		}
		tb.Cleanup(func() { p.Close() })
		go func() {
			buf := make([]byte, 64)
			for {
				_, from, err := p.ReadFrom(buf)
				if err != nil {
					return
				}
				p.WriteTo([]byte(name+" "+host(from)), from)
			}
		}()
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

func host(a net.Addr) string {
	h, _, _ := net.SplitHostPort(a.String())
	return h
}

// ask is what answers at an address, in a namespace or, with "", where the test is: its words, or "silence", or "refused".
func ask(netns, protocol, address string, wait time.Duration) (answer string) {
	question := func() error {
		c, err := net.DialTimeout(protocol, address, wait)
		if err == nil {
			defer c.Close()
			c.SetDeadline(time.Now().Add(wait))
			fmt.Fprint(c, "who?")
			var text []byte
			if protocol == "udp" {
				text = make([]byte, 64)
				var n int
				n, err = c.Read(text)
				text = text[:n]
			} else {
				text, err = io.ReadAll(c)
			}
			answer = string(text)
		}
		if errors.Is(err, unix.ECONNREFUSED) {
			answer = "refused"
		} else if err != nil {
			answer = "silence"
		}
		return nil
	}
	if netns == "" {
		question()
	} else if err := network.Do(netns, question); err != nil {
		return err.Error()
	}
	return answer
}

func TestPortsOfTheMachineLeadToAContainerFromEverywhere(t *testing.T) {
	w := machine(t)
	a, gotA := w.container(t, "a", network.Port{Host: 31000, Container: 80}, network.Port{Host: 31000, Container: 80, Protocol: network.UDP})
	b, _ := w.container(t, "b")
	serve(t, a, "a", 80)
	serve(t, w.neighbour, "neighbour", 80)
	want := network.Result{
		Interface: "eth0",
		Addresses: []netip.Prefix{netip.MustParsePrefix("172.31.254.2/24"), netip.MustParsePrefix("fd00:7061::2/64")},
		Gateways:  []netip.Addr{netip.MustParseAddr("172.31.254.1"), netip.MustParseAddr("fd00:7061::1")},
		Routes: []network.Route{
			{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("172.31.254.1")},
			{Destination: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("fd00:7061::1")},
		},
	}
	if diff := cmp.Diff(want, gotA, cmp.Comparer(func(x, y netip.Addr) bool { return x == y }), cmp.Comparer(func(x, y netip.Prefix) bool { return x == y })); diff != "" {
		t.Error(diff)
	}
	const short, long = 200 * time.Millisecond, 3 * time.Second
	for _, c := range []struct {
		name, netns, address, want string
		wait                       time.Duration
	}{
		{"a neighbour, whose address is kept", w.neighbour, "10.9.0.1:31000", "a 10.9.0.2", long},
		{"a neighbour by IPv6", w.neighbour, "[fd09::1]:31000", "a fd09::2", long},
		{"the machine by its address", "", "10.9.0.1:31000", "a 10.9.0.1", long},
		{"the machine by loopback", "", "127.0.0.1:31000", "a 172.31.254.1", long},
		{"the machine by IPv6", "", "[fd09::1]:31000", "a fd09::1", long},
		{"the machine by loopback of IPv6, which Linux cannot", "", "[::1]:31000", "refused", long},
		{"the machine by the gateway's address", "", "172.31.254.1:31000", "a 172.31.254.1", long},
		{"another container by the machine", b, "10.9.0.1:31000", "a 172.31.254.1", long},
		{"another container by the gateway", b, "172.31.254.1:31000", "a 172.31.254.1", long},
		{"the container itself by the machine", a, "10.9.0.1:31000", "a 172.31.254.1", long},
		{"the container itself by the machine and IPv6", a, "[fd09::1]:31000", "a fd00:7061::1", long},
		{"another container directly", b, "172.31.254.2:80", "a 172.31.254.3", long},
		{"the machine directly", "", "172.31.254.2:80", "a 172.31.254.1", long},
		{"the neighbour is reached as if by the machine", a, "10.9.0.2:80", "neighbour 10.9.0.1", long},
		{"the neighbour is reached by IPv6", a, "[fd09::2]:80", "neighbour fd09::1", long},
		{"a neighbour does not come to what is not mapped", w.neighbour, "172.31.254.2:80", "silence", short},
		{"nor by IPv6", w.neighbour, "[fd00:7061::2]:80", "silence", short},
		{"what goes to other machines is not led astray", b, "10.9.0.2:31000", "refused", long},
	} {
		for _, protocol := range []string{"tcp", "udp"} {
			if got := ask(c.netns, protocol, c.address, c.wait); got != c.want {
				t.Errorf("%s, %s: %s; want %s", c.name, protocol, got, c.want)
			}
		}
	}
}

func TestAContainerDoesNotComeToTheMachinesLoopback(t *testing.T) {
	w := machine(t)
	a, _ := w.container(t, "a")
	serve(t, "/proc/thread-self/ns/net", "machine", 5051)
	networktest.Run(t, "nsenter", "--net="+a, "sh", "-c", "ip addr del 127.0.0.1/8 dev lo; echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet; ip route add 127.0.0.1 via 172.31.254.1 src 172.31.254.2")
	if got := ask(a, "tcp", "127.0.0.1:5051", 300*time.Millisecond); got != "silence" {
		t.Errorf("it is answered by %s", got)
	}
	if got := ask(a, "tcp", "172.31.254.1:5051", time.Second); got != "machine 172.31.254.2" {
		t.Errorf("the machine is not reached at all: %s", got)
	}
}

func TestRemovingAContainerLeavesNothingAndFreesWhatItHad(t *testing.T) {
	w := machine(t)
	before := state(t)
	ports := []network.Port{{Host: 31000, Container: 80}, {Host: 31001, Container: 80, Protocol: network.UDP}}
	for range 2 {
		netns, _ := w.container(t, "a", ports...)
		if _, err := w.Add("a", netns, Want{Interface: "eth1"}); !fault.Is(err, fault.Conflict) {
			t.Errorf("added twice: %v", err)
		}
		if _, err := w.Add("b", netns, Want{Interface: "eth1", Ports: ports[1:]}); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "ports[0]: 31001/udp leads to container a") {
			t.Errorf("its port again: %v", err)
		}
		for range 2 {
			if err := w.Remove("a"); err != nil {
				t.Error(err)
			}
		}
		if err := network.Remove(netns); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(before, state(t)); diff != "" {
			t.Error(diff)
		}
	}
	if files, _ := os.ReadDir(w.cfg.Dir); len(files) != 1 { // the lock
		t.Errorf("files are left: %v", files)
	}
}

// state is all that the machine has of links, addresses, routes and rules.
func state(tb testing.TB) string {
	tb.Helper()
	return networktest.Run(tb, "sh", "-c", "ip -br addr | awk '{print $1, $3, $4}' | sed 's/ fe80[^ ]*//; s/ *$//'; ip route | sed 's/ linkdown//'; nft list ruleset")
}

func TestWhatFailsHalfWayIsUndone(t *testing.T) {
	w := machine(t)
	before := state(t)
	netns := w.namespace(t, "a")
	networktest.Run(t, "nsenter", "--net="+netns, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
	ports := []network.Port{{Host: 31000, Container: 80}}
	if _, err := w.Add("a", netns, Want{Interface: "eth0", Ports: ports}); err == nil || !strings.Contains(err.Error(), "make link eth0") {
		t.Errorf("a link of the name is there: %v", err)
	}
	networktest.Run(t, "nsenter", "--net="+netns, "sh", "-c", "ip link set eth0 up; ip route add default dev eth0")
	if _, err := w.Add("a", netns, Want{Interface: "eth1", Default: true, Ports: ports}); err == nil || !strings.Contains(err.Error(), "add the route to 0.0.0.0/0") {
		t.Errorf("a default route is there: %v", err)
	}
	if _, err := w.Add("a", filepath.Join(w.dir, "nowhere"), Want{Interface: "eth0"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no namespace: %v", err)
	}
	if diff := cmp.Diff(before, state(t)); diff != "" {
		t.Error(diff)
	}
	if got := len(w.book.addresses); got != 0 {
		t.Errorf("%d addresses are taken", got)
	}
}

func TestASweepFindsWhatACrashLeftAndMendsWhatOthersBroke(t *testing.T) {
	w := machine(t)
	kept, _ := w.container(t, "kept", network.Port{Host: 31000, Container: 80})
	serve(t, kept, "kept", 80)
	before := state(t)
	w.container(t, "gone", network.Port{Host: 31001, Container: 80})
	orphan := linkName("pando0", "never recorded")
	networktest.Run(t, "sh", "-c", "ip link add "+orphan+" type veth peer name x && ip link set "+orphan+" master pando0")
	networktest.Run(t, "nft", "add element inet pando pando0-ports4 { udp . 99 : 172.31.254.77 . 99 }")
	networktest.Run(t, "nft", "delete element inet pando pando0-ports4 { tcp . 31000 }")
	os.WriteFile(filepath.Join(w.cfg.Dir, "172.31.254.9"), []byte("{garbage"), 0o600)
	os.WriteFile(filepath.Join(w.cfg.Dir, "172.31.254.10.new"), nil, 0o600)
	if _, err := Open(w.cfg); !fault.Is(err, fault.Conflict) {
		t.Errorf("opened twice: %v", err)
	}
	w.Close()
	w.Bridge = nil
	w.open(t)
	removed, err := w.Sweep([]string{"kept", "of another network"})
	if err != nil || !slices.Equal(removed, []string{"gone"}) {
		t.Errorf("%v: %v", removed, err)
	}
	if diff := cmp.Diff(before, state(t)); diff != "" {
		t.Error(diff)
	}
	if got := ask(w.neighbour, "tcp", "10.9.0.1:31000", time.Second); got != "kept 10.9.0.2" {
		t.Errorf("the one that is known: %s", got)
	}
	if files, _ := os.ReadDir(w.cfg.Dir); len(files) != 2 { // the lock and the one
		t.Errorf("files are left: %v", files)
	}
	if removed, err := w.Sweep(nil); err != nil || !slices.Equal(removed, []string{"kept"}) {
		t.Errorf("%v: %v", removed, err)
	}
}

func TestRulesAreMadeAgainAfterAnotherProgramFlushedThem(t *testing.T) {
	w := machine(t)
	a, _ := w.container(t, "a", network.Port{Host: 31000, Container: 80})
	serve(t, a, "a", 80)
	before := state(t)
	for name, mend := range map[string]func(){
		"a restart": func() { w.Close(); w.open(t); w.Sweep([]string{"a"}) },
		"a sweep":   func() { w.Sweep([]string{"a"}) },
		"the next container": func() {
			w.container(t, "b", network.Port{Host: 31001, Container: 80})
			w.Remove("b")
		},
	} {
		networktest.Run(t, "nft", "flush", "ruleset")
		mend()
		if diff := cmp.Diff(before, state(t)); diff != "" {
			t.Errorf("after %s: %s", name, diff)
		}
	}
}

func TestRemovingWorksWhereTheRulesAreGone(t *testing.T) {
	w := machine(t)
	w.container(t, "a", network.Port{Host: 31000, Container: 80})
	networktest.Run(t, "nft", "flush", "ruleset")
	if err := w.Remove("a"); err != nil {
		t.Error(err)
	}
}

func TestOtherTablesAreLeftAlone(t *testing.T) {
	w := machine(t)
	networktest.Run(t, "nft", "add table inet other; add chain inet other c { type nat hook prerouting priority -100; }; add rule inet other c tcp dport 1 redirect to 2; add table ip pando")
	other := func() string {
		return networktest.Run(t, "sh", "-c", "nft list table inet other; nft list table ip pando")
	}
	before := other()
	w.container(t, "a", network.Port{Host: 31000, Container: 80})
	w.Remove("a")
	w.Close()
	w.open(t)
	w.Sweep(nil)
	if diff := cmp.Diff(before, other()); diff != "" {
		t.Error(diff)
	}
}

func TestAClientThatNeverPausesIsLedToWhoeverHasThePortNow(t *testing.T) {
	w := machine(t)
	serve(t, "/proc/thread-self/ns/net", "machine", 31000)
	var client net.Conn
	if err := network.Do(w.neighbour, func() (err error) {
		client, err = net.Dial("udp", "10.9.0.1:31000")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	say := func() string { // one flow, asked again and again
		text := make([]byte, 64)
		client.SetDeadline(time.Now().Add(time.Second))
		fmt.Fprint(client, "who?")
		n, err := client.Read(text)
		if err != nil {
			return err.Error()
		}
		return string(text[:n])
	}
	if got := say(); got != "machine 10.9.0.2" {
		t.Error(got)
	}
	port := network.Port{Host: 31000, Container: 80, Protocol: network.UDP}
	for _, id := range []string{"a", "b"} {
		netns, _ := w.container(t, id, port)
		serve(t, netns, id, 80)
		if got := say(); got != id+" 10.9.0.2" {
			t.Errorf("%s has the port, and this answers: %s", id, got)
		}
		if err := w.Remove(id); err != nil {
			t.Error(err)
		}
		if got := say(); got != "machine 10.9.0.2" {
			t.Errorf("nobody has the port, and this answers: %s", got)
		}
	}
}

func TestTheKernelHasTheRulesThatWerePlanned(t *testing.T) {
	machine(t)
	golden, err := os.ReadFile("testdata/rules.nft")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(golden), networktest.Run(t, "nft", "list", "table", "inet", "pando")); diff != "" {
		t.Error(diff)
	}
}

func TestTwoBridgesDoNotDisturbEachOther(t *testing.T) {
	w := machine(t)
	cfg := w.cfg
	cfg.Name, cfg.Dir, cfg.Subnet, cfg.Subnet6 = "other0", t.TempDir(), netip.MustParsePrefix("10.77.0.0/24"), netip.Prefix{}
	b, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	w.container(t, "a", network.Port{Host: 31000, Container: 80})
	before := state(t)
	netns := w.namespace(t, "b")
	if _, err := b.Add("b", netns, Want{Interface: "eth0", Ports: []network.Port{{Host: 31000, Container: 81}}}); err != nil {
		t.Error(err)
	}
	if _, err := b.Sweep(nil); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, state(t)); diff != "" {
		t.Error(diff)
	}
}

func TestABridgeIsNotMadeWhereItWouldHideSomething(t *testing.T) {
	w := machine(t)
	cfg := w.cfg
	cfg.Name, cfg.Dir, cfg.Subnet6 = "other0", t.TempDir(), netip.Prefix{}
	for subnet, want := range map[string]string{"10.9.0.128/25": "overlaps with 10.9.0.0/24, which the machine reaches by wire", "172.31.0.0/16": "by pando0"} {
		cfg.Subnet = netip.MustParsePrefix(subnet)
		if _, err := Open(cfg); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", subnet, err)
		}
	}
	cfg.Name, cfg.Subnet = "wire", netip.MustParsePrefix("10.77.0.0/24")
	if _, err := Open(cfg); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "no bridge but a veth") {
		t.Errorf("a link that is no bridge: %v", err)
	}
	w.Close()
	cfg.Name = "pando0"
	if _, err := Open(cfg); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "has address 172.31.254.1/24, not 10.77.0.1/24") {
		t.Errorf("a bridge with another subnet: %v", err)
	}
}

func TestABridgeIsOneAgentsAsLongAsItHasContainersThere(t *testing.T) {
	w := machine(t)
	w.container(t, "a")
	before := state(t)
	other := w.cfg
	other.Dir = t.TempDir()
	if _, err := Open(other); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "bridge pando0 has containers of another agent, whose records are in "+w.cfg.Dir) {
		t.Errorf("two agents have it: %v", err)
	}
	w.Close() // an agent that is away is one as well
	if _, err := Open(other); !fault.Is(err, fault.Conflict) {
		t.Errorf("another took it meanwhile: %v", err)
	}
	if diff := cmp.Diff(before, state(t)); diff != "" {
		t.Error(diff)
	}
	b, err := Open(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Remove("a"); err != nil {
		t.Error(err)
	}
	b.Close()
	if b, err = Open(other); err != nil {
		t.Fatal(err)
	}
	b.Close()
}

// BenchmarkANetworkMadeAndRemoved tells how long a container's network takes with a namespace and a mapped port: crowd at once, as
// the tasks of an agent come and go. Removing alone waits for the kernel's processors, whatever is removed, so it is told apart.
func BenchmarkANetworkMadeAndRemoved(b *testing.B) {
	for _, crowd := range []int{1, 32} {
		b.Run(fmt.Sprintf("%d at once", crowd), func(b *testing.B) {
			w := machine(b)
			var made, removed time.Duration
			for b.Loop() {
				start := time.Now()
				together(b, crowd, func(n int) error {
					id := fmt.Sprint("box", n)
					if err := network.Make(filepath.Join(w.dir, id)); err != nil {
						return err
					}
					_, err := w.Add(id, filepath.Join(w.dir, id), Want{Interface: "eth0", Default: true, Ports: []network.Port{{Host: uint16(31000 + n), Container: 80}}})
					return err
				})
				made += time.Since(start)
				start = time.Now()
				together(b, crowd, func(n int) error {
					id := fmt.Sprint("box", n)
					return errors.Join(w.Remove(id), network.Remove(filepath.Join(w.dir, id)))
				})
				removed += time.Since(start)
			}
			each := float64(b.N*crowd) * 1e6
			b.ReportMetric(float64(made)/each, "ms/made")
			b.ReportMetric(float64(removed)/each, "ms/removed")
			b.ReportMetric(float64(made+removed)/each, "ms/container")
		})
	}
}

// together does a deed so many times at once, each with a number of its own.
func together(tb testing.TB, crowd int, deed func(int) error) {
	tb.Helper()
	var all sync.WaitGroup
	for n := range crowd {
		all.Go(func() {
			if err := deed(n); err != nil {
				tb.Error(err)
			}
		})
	}
	all.Wait()
}
